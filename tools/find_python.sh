#!/bin/sh
# Prints the interpreter that set-up runs on, or says what is missing. `make setup PYTHON=...` chooses another.
set -u

# The versions for which Ray and torch publish wheels. ensurepip is missing where Debian splits off python3-venv.
fits() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' \
        >/dev/null 2>&1
}

if [ -n "${1:-}" ]; then
    fits "$1" && echo "$1" && exit 0
    echo "PYTHON=$1 is not a Python 3.10 to 3.14 with the modules venv and ensurepip." >&2
    exit 1
fi
for candidate in .venv/bin/python python3 python3.13 python3.12 python3.11 python3.10 python3.14 \
    "$HOME"/.pyenv/versions/3.1[0-4]*/bin/python "$HOME"/.local/share/uv/python/cpython-3.1[0-4]*/bin/python; do
    fits "$candidate" && echo "$candidate" && exit 0
done
cat >&2 <<END
No Python 3.10 to 3.14 with the module venv was found (python3 is: $(python3 --version 2>&1 || echo missing)).
  Debian, Ubuntu, JetPack 6:  sudo apt install python3-venv
  JetPack 5 (Python 3.8):     install uv, then: uv python install 3.11
  elsewhere:                  make setup PYTHON=/path/to/python3.11
END
exit 1
