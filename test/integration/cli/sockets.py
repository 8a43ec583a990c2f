#!/usr/bin/env python3
"""Messages (a JSON array of hex strings on standard input) through one of the agent's sockets.

sockets.py KIND PATH: prints a JSON array of replies, or counts, as KIND says.
"""
import json
import socket
import sys
import time

kind, path = sys.argv[1:3]
messages = [bytes.fromhex(m) for m in json.load(sys.stdin)]
packet = not kind.startswith("datagram")


def connect():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if packet else socket.SOCK_DGRAM)
    s.connect(path)
    s.settimeout(20)
    return s


s = connect()
replies = []
if kind == "datagram":  # waits while the queue is full
    for m in messages:
        s.send(m)
elif kind == "datagram-count":  # does not wait
    s.setblocking(False)
    took = 0
    for m in messages:
        try:
            s.send(m)
            took += 1
        except BlockingIOError:
            pass
    replies = {"took": took, "refused": len(messages) - took}
elif kind == "seqpacket":
    for m in messages:
        s.send(m)
        replies.append(s.recv(65536).decode())
elif kind == "seqpacket-burst":  # sends as fast as the socket takes, reads on the side
    sent = 0
    s.setblocking(False)
    end = time.time() + 20
    while len(replies) < len(messages) and time.time() < end:
        try:
            if sent < len(messages):
                s.send(messages[sent])
                sent += 1
                continue
        except BlockingIOError:
            pass
        try:
            replies.append(s.recv(65536).decode())
        except BlockingIOError:
            time.sleep(0.002)
elif kind == "seqpacket-vanish":  # hangs up before the reply
    for m in messages[:100]:
        c = connect()
        c.send(m)
        c.close()
elif kind == "seqpacket-deaf":  # asks and never reads
    s.setblocking(False)
    for m in messages:
        try:
            s.send(m)
        except OSError:
            time.sleep(0.001)
elif kind == "seqpacket-crowd":  # more clients than the agent serves at once
    crowd = [connect() for _ in range(30)]
    for c in crowd[:20]:
        c.send(messages[0])
        c.recv(65536)
    for c in crowd[:10]:
        c.close()
    for c in crowd[20:]:
        c.send(messages[0])
        c.recv(65536)
print(json.dumps(replies))
