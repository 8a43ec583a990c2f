#!/bin/sh
# Goal: the pinned and patched libraries do in TLS what the patches promise, whatever version they are
# moved to: versions and kinds of certificate that have to work do, and each refusal has its own text.
# Method: a client of a few lines against `openssl s_server` with certificates made here.
# usage: tls.sh TLS_PROBE
set -eu
probe=$1
dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir"

ca() { # name
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" \
        -out "$1.pem" -subj "/CN=$1" -days 3650 2>/dev/null
}
leaf() { # name, begin, end, kind of key...
    name=$1 begin=$2 end=$3
    shift 3
    openssl req -new -newkey "$@" -nodes -keyout "$name.key" -out "$name.csr" -subj "/CN=$name" \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" 2>/dev/null
    openssl ca -batch -config ca.cnf -in "$name.csr" -out "$name.pem" -startdate "$begin" \
        -enddate "$end" -notext 2>/dev/null
}
mkdir db
: >db/index.txt
echo 1000 >db/serial
cat >ca.cnf <<'CNF'
[ca]
default_ca=d
[d]
database=db/index.txt
serial=db/serial
new_certs_dir=db
certificate=good_ca.pem
private_key=good_ca.key
default_md=sha256
policy=p
unique_subject=no
copy_extensions=copy
[p]
commonName=supplied
CNF
ca good_ca
ca other_ca
ec="ec -pkeyopt ec_paramgen_curve:P-256"
# shellcheck disable=SC2086 # words
{
    leaf good 20200101000000Z 20491231000000Z $ec
    leaf p384 20200101000000Z 20491231000000Z ec -pkeyopt ec_paramgen_curve:P-384
    leaf rsa 20200101000000Z 20491231000000Z rsa:2048
    leaf old 20200101000000Z 20210101000000Z $ec
    leaf future 20450101000000Z 20491231000000Z $ec
}
# A bundle as systems have it: certificates that cannot be used among those that can.
openssl req -x509 -newkey ed25519 -nodes -keyout ed.key -out ed.pem -subj "/CN=ed" 2>/dev/null
cat ed.pem good_ca.pem >bundle.pem

failed=0
count=0
expect() { # certificate, host, CA file, expected text, options of s_server...
    cert=$1 host=$2 ca=$3 want=$4
    shift 4
    : >server.log
    openssl s_server -accept 127.0.0.1:0 -cert "$cert.pem" -key "$cert.key" -rev "$@" \
        >server.log 2>&1 &
    server=$!
    port=
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        port=$(sed -n 's/^ACCEPT.*:\([0-9]*\)$/\1/p' server.log)
        [ -n "$port" ] && break
        sleep 0.1
    done
    got=$("$probe" "$host" "${port:-1}" "$ca") || got="$got (gave up)"
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
    count=$((count + 1))
    case $got in
    $want) ;;
    *)
        echo "$cert as $host with $ca, $*: got \"$got\", want \"$want\""
        failed=1
        ;;
    esac
}

for version in -tls1_3 -tls1_2; do
    expect good localhost good_ca.pem "up" $version
    expect rsa localhost good_ca.pem "up" $version
    expect p384 localhost good_ca.pem "up" $version
    expect good 127.0.0.1 good_ca.pem "up" $version
    expect good localhost bundle.pem "up" $version
    expect good wrong.example good_ca.pem "mbedtls verify hostname 0x4" $version
    expect good localhost other_ca.pem "mbedtls verify invalidca 0x8" $version
    expect old localhost good_ca.pem "mbedtls verify expired 0x1" $version
    expect future localhost good_ca.pem "mbedtls verify notyetvalid 0x200" $version
    expect old wrong.example good_ca.pem "mbedtls verify hostname expired 0x5" $version
done
expect rsa localhost good_ca.pem "mbedtls -0x7780 alert 70" -tls1_1 -cipher ALL:@SECLEVEL=0
expect rsa localhost good_ca.pem "mbedtls -0x7780 alert 40" -tls1_2 -cipher AES128-SHA
expect good localhost good.key "no context" -tls1_3
expect good localhost missing.pem "no context" -tls1_3
echo "$count connections"
exit $failed
