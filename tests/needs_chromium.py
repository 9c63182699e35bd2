"""Say before the tests what the machine lacks; the tests that need it then skip visibly."""

import shutil
import sys


def main() -> None:
    wanted = {
        "chromium": "the browser tests (Debian: apt install chromium)",
        "pdftotext": "the tests that read the PDF back (Debian: apt install poppler-utils)",
        "node": "the viewer's JavaScript tests (Debian: apt install nodejs)",
    }
    for program, use in wanted.items():
        if shutil.which(program) is None:
            print(f"note: {program} is not installed, so these skip: {use}", file=sys.stderr)


if __name__ == "__main__":
    main()
