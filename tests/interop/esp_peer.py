"""The ESP of scapy as the other end of a security association (RFC 4303).

Reads one order a line, words separated by spaces, and answers each with one line:

  open ALG EALG INTEGRITY-KEY ENCRYPTION-KEY FROM TO SPI PACKET
      -> PROTOCOL SOURCE-PORT DESTINATION-PORT FLAGS PAYLOAD (of UDP or TCP; checksum checked)
  make ALG EALG INTEGRITY-KEY ENCRYPTION-KEY FROM TO SPI SEQ udp|syn SOURCE DESTINATION PAYLOAD
      -> PACKET
  what cannot be done -> fault WHY

Octets are in hexadecimal, none of them is "-". A pair of algorithms that this scapy does not know
is answered by "unknown".
"""

import sys
import warnings

warnings.filterwarnings("ignore")

from scapy.compat import raw
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import AUTH_ALGOS, CRYPT_ALGOS, ESP, SecurityAssociation

AUTH = {"hmac-md5-96": "HMAC-MD5-96", "hmac-sha-1-96": "HMAC-SHA1-96"}
CRYPT = {"null": "NULL", "aes-cbc": "AES-CBC", "des-ede3-cbc": "3DES", "aes-gcm": "AES-GCM"}


def octets(word):
    return b"" if word == "-" else bytes.fromhex(word)


def association(alg, ealg, integrity, encryption, spi):
    auth = AUTH.get(alg)
    crypt = "AES-NULL-GMAC" if alg == "aes-gmac" else CRYPT[ealg]
    if crypt not in CRYPT_ALGOS or (auth and auth not in AUTH_ALGOS):
        return None
    key = octets(integrity if alg == "aes-gmac" else encryption)
    return SecurityAssociation(
        ESP,
        spi=int(spi),
        crypt_algo=crypt,
        crypt_key=key or None,
        auth_algo=auth,
        auth_key=octets(integrity) if auth else None,
    )


def header(source, destination):
    if ":" in source:
        return IPv6(src=source, dst=destination)
    return IP(src=source, dst=destination)


def opened(sa, source, destination, packet):
    outside = header(source, destination)
    if ":" in source:
        outside.nh = 50
    else:
        outside.proto = 50
    whole = (outside / ESP(octets(packet))).__class__(raw(outside / ESP(octets(packet))))
    inside = sa.decrypt(whole)
    inside = inside.__class__(raw(inside))
    layer = UDP if UDP in inside else TCP
    found = inside[layer].chksum
    del inside[layer].chksum
    expected = inside.__class__(raw(inside))[layer].chksum
    if found != expected:
        return "fault checksum %04x instead of %04x" % (found, expected)
    part = inside[layer]
    flags = str(part.flags) if layer is TCP else "-"
    payload = raw(part.payload).hex() or "-"
    name = "udp" if layer is UDP else "tcp"
    return f"{name} {part.sport} {part.dport} {flags} {payload}"


def made(sa, source, destination, seq, kind, sport, dport, payload):
    sport, dport = int(sport), int(dport)
    if kind == "udp":
        part = UDP(sport=sport, dport=dport) / octets(payload)
    else:
        part = TCP(sport=sport, dport=dport, flags="S", seq=1000, options=[("MSS", 1200)])
    sealed = sa.encrypt(header(source, destination) / part, seq_num=int(seq))
    return raw(sealed[ESP]).hex()


for line in sys.stdin:
    order, alg, ealg, integrity, encryption, source, destination, spi, *rest = line.split()
    try:
        sa = association(alg, ealg, integrity, encryption, spi)
        if sa is None:
            answer = "unknown"
        elif order == "open":
            answer = opened(sa, source, destination, *rest)
        else:
            answer = made(sa, source, destination, *rest)
    except Exception as fault:
        answer = "fault " + " ".join(repr(fault).split())
    print(answer, flush=True)
