"""`python -m denizen.cli` is `denizen`."""

from denizen.cli import main

if __name__ == "__main__":
    main()
