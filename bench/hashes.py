"""What the heaviest hashes that an import takes cost here: `python -m bench.hashes`.

The limits stand in `denizen.passwords.foreign`; each should stay within about a second of a core.
"""

import time

from denizen.passwords.foreign import read_hash

TAG = "A" * 43
HEAVIEST = {
    "argon2id, 128 MiB, 8 passes": f"$argon2id$v=19$m=131072,t=8,p=1$c29tZXNhbHRzb21l${TAG}",
    "bcrypt, cost 14": "$2b$14$abcdefghijklmnopqrstuuW6l4bQ1n0mZ1r0Jr7q1sVQ1mB0c9Qy6",
    "scrypt, N=2^17, r=8, p=3": f"$scrypt$ln=17,r=8,p=3$c2FsdA${TAG}",
    "pbkdf2-sha256, 3,000,000": f"$pbkdf2-sha256$3000000$c2FsdA${TAG}",
    "pbkdf2-sha512, 1,500,000": f"$pbkdf2-sha512$1500000$c2FsdA${TAG}",
}


def main() -> None:
    """Compute each once and print the seconds."""
    for name, text in HEAVIEST.items():
        stored = read_hash(text)
        if stored is None or not stored.is_bearable:
            raise ValueError(f"{name} is not taken any more")
        began = time.perf_counter()
        stored.matches(b"a fine long passphrase 77")
        print(f"  {name:<30} {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
