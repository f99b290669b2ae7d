#!/bin/sh
# Packages of the operating system that pip cannot bring. Installs them where that is possible without asking (root on
# Debian or Ubuntu), says otherwise what is missing and how to get it. Never stops the build: without a browser its
# tests are skipped, without npm those of them that look for barriers, without a CJK font Chinese labels, and without
# tesseract nothing reads the letters back.
set -eu

missing=""
python=${PYTHON:-python3}

"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"

if [ "$(uname -s)" = Linux ]; then
    has_browser=no
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null 2>&1; then has_browser=yes; fi
    done
    [ $has_browser = yes ] || missing="$missing chromium"

    # it fetches axe-core for the browser tests
    command -v npm >/dev/null 2>&1 || missing="$missing npm"

    found=$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
        \( -iname '*CJK*' -o -iname 'SourceHanSans*' -o -iname 'wqy-*' -o -iname 'DroidSansFallback*' \) 2>/dev/null | head -n 1 || true)
    [ -n "$found" ] || missing="$missing fonts-noto-cjk"

    found=$(find /usr/share/fonts /usr/local/share/fonts "$HOME/.fonts" "$HOME/.local/share/fonts" \
        -iname '*emoji*' 2>/dev/null | head -n 1 || true)
    [ -n "$found" ] || missing="$missing fonts-noto-color-emoji"

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
    echo "Installing Debian packages:$missing"
    log=$(mktemp)
    if ! { apt-get update -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 &&
        DEBIAN_FRONTEND=noninteractive $command -qq; } >"$log" 2>&1; then
        echo "Could not install$missing (last line: $(tail -n 1 "$log")). Later: $command" >&2
    fi
    rm -f "$log"
fi
