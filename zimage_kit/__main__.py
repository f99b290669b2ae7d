"""`python -m zimage_kit` is the command `zimage`."""

from .cli import main

if __name__ == "__main__":
    main()
