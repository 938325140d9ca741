#!/bin/sh
# Installs the packages of key-backends/package-lock.json and builds the PKCS#11 binding, which comes as C++ source. npm
# runs no scripts of packages here, so the three files are given to the compiler directly.
set -eu
here=$(dirname "$0")
cd "$here/../key-backends"
stamp=node_modules/.stamp
binding=node_modules/pkcs11js/build/Release/pkcs11.node
if [ ! -e $stamp ] || [ package-lock.json -nt $stamp ]; then
  ../scripts/with-progress.sh 'installing the npm packages of key-backends' npm ci
fi
if [ ! -e $binding ]; then
  command -v g++ >/dev/null 2>&1 || ../scripts/debian-packages.sh g++
  mkdir -p "$(dirname $binding)"
  ../scripts/with-progress.sh 'building the PKCS#11 binding' g++ -std=c++17 -O2 -fPIC -shared \
    -DNAPI_DISABLE_CPP_EXCEPTIONS -DNODE_GYP_MODULE_NAME=pkcs11 \
    -I node_modules/node-api-headers/include -I node_modules/pkcs11js/includes \
    node_modules/pkcs11js/src/dl.cpp node_modules/pkcs11js/src/common.cpp node_modules/pkcs11js/src/main.cpp \
    -o $binding -ldl
fi
touch $stamp
