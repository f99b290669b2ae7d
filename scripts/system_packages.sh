#!/bin/sh
# Packages of the operating system that pip cannot bring, of the kinds that are named: fonts (for JupyterLab and the
# stage that writes on pictures), browser and ocr (for the tests). Installs them where that is possible without asking
# (root on Debian or Ubuntu), says otherwise what is missing and how to get it. Never stops the build: without a browser
# its tests are skipped, without npm those of them that look for barriers, without Node those of the scripts' logic,
# without a CJK font Chinese labels, and without tesseract nothing reads the letters back.
set -eu

missing=""
python=${PYTHON:-python3}
kinds=" ${*:-fonts browser ocr} "

wanted() {
    case "$kinds" in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ "$(uname -s)" = Linux ] && wanted fonts; then
    found=$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
        \( -iname '*CJK*' -o -iname 'SourceHanSans*' -o -iname 'wqy-*' -o -iname 'DroidSansFallback*' \) 2>/dev/null | head -n 1 || true)
    [ -n "$found" ] || missing="$missing fonts-noto-cjk"

    found=$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
        -iname '*emoji*' 2>/dev/null | head -n 1 || true)
    [ -n "$found" ] || missing="$missing fonts-noto-color-emoji"
fi

if [ "$(uname -s)" = Linux ] && wanted browser; then
    has_browser=no
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then has_browser=yes; fi
    done
    [ $has_browser = yes ] || missing="$missing chromium"

    # it fetches axe-core for the browser tests, and Node, which comes with it, tests the scripts' logic
    command -v npm >/dev/null 2>&1 || missing="$missing npm"
fi

if [ "$(uname -s)" = Linux ] && wanted ocr; then
    # it reads back, in the tests, what text_overlay wrote; English comes with it
    languages=$(tesseract --list-langs 2>/dev/null || true)
    for name in chi_sim chi_sim_vert; do
        case "$languages" in
        *"$name
"* | *"$name") ;;
        *) missing="$missing tesseract-ocr-$(echo $name | tr _ -)" ;;
        esac
    done
    command -v tesseract >/dev/null 2>&1 || missing="$missing tesseract-ocr"
fi

[ -n "$missing" ] || exit 0

command="apt-get install -y --no-install-recommends$missing"
if ! command -v apt-get >/dev/null 2>&1; then
    echo "Not found on this machine:$missing (Debian's names). Install them with your system's package manager." >&2
elif [ "$(id -u)" -ne 0 ]; then
    echo "Not found on this machine:$missing. To get them: sudo $command" >&2
else
    log=$(mktemp)
    echo "Reading the list of Debian packages"
    if ! apt-get update -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 >"$log" 2>&1 || {
        echo "Installing Debian packages:$missing"
        ! DEBIAN_FRONTEND=noninteractive $command -qq >"$log" 2>&1
    }; then
        echo "Could not install$missing (last line: $(tail -n 1 "$log")). Later: $command" >&2
    fi
    rm -f "$log"
fi
