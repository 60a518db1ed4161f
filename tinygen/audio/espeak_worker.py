"""The program that holds eSpeak NG: a process of its own, started by :mod:`tinygen.audio.speech`.

`python -I -S espeak_worker.py LIBRARY DATA` reads one request a line (JSON) and answers each with one line (JSON),
followed by `bytes` bytes of sound where it has some. It uses the standard library alone, so that it starts in 20 ms.

eSpeak NG keeps all of its state in global variables that not even `espeak_Terminate` sets back: the same sentence said
twice is two different sounds, and threads disturb each other (espeak-ng issues 68 and 495). So every request is served
by a fork of a process that has said nothing yet; where there is no fork, the worker ends after its first request.
Constants and structures are those of eSpeak NG's `speak_lib.h` (API revision 12).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

SYNCHRONOUS = 2
DO_NOT_EXIT = 0x8000
CHARS_UTF8 = 1
PHONEMES_IPA = 0x02
RATE, VOLUME, PITCH, PITCH_RANGE, WORD_GAP = 1, 2, 3, 4, 7
PARAMETERS = {"rate": RATE, "volume": VOLUME, "pitch": PITCH, "pitch_range": PITCH_RANGE, "word_gap": WORD_GAP}


class Voice(ctypes.Structure):
    """`espeak_VOICE`; `languages` is a list of (priority byte, name), of which the first is taken."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("reserved", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, initialised. Only good for one request."""

    def __init__(self, library: str, data: str) -> None:
        lib = ctypes.CDLL(library)
        lib.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        lib.espeak_ListVoices.argtypes = [ctypes.POINTER(Voice)]
        lib.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(Voice))
        lib.espeak_GetCurrentVoice.restype = ctypes.POINTER(Voice)
        lib.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        lib.espeak_SetSynthCallback.argtypes = [Callback]
        lib.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]
        lib.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        lib.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
        lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._lib = lib
        self._sound = bytearray()
        self._callback = Callback(self._heard)  # the library keeps no reference
        self.sample_rate_hz = lib.espeak_Initialize(SYNCHRONOUS, 0, os.fsencode(data), DO_NOT_EXIT)
        if self.sample_rate_hz <= 0:
            raise ValueError(f"eSpeak NG cannot read its data in {data}")
        lib.espeak_SetSynthCallback(self._callback)

    def _heard(self, samples: Any, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._sound += ctypes.string_at(samples, 2 * count)
        return 0

    def list_voices(self, variants: bool) -> list[tuple[str, str]]:
        """(language, identifier) of every voice, or of every variant."""
        wanted = ctypes.byref(Voice(languages=b"variant")) if variants else None
        entries = self._lib.espeak_ListVoices(wanted)
        found, index = [], 0
        while entries[index]:
            voice = entries[index].contents
            found.append((voice.languages[1:].decode(), voice.identifier.decode()))
            index += 1
        return found

    def say(self, text: str, voice: str, parameters: dict[str, int]) -> bytes:
        """Samples (16 bit, this machine's byte order) at `sample_rate_hz`."""
        found = self._lib.espeak_SetVoiceByName(voice.encode()) == 0
        if not found or self._lib.espeak_GetCurrentVoice().contents.identifier != voice.encode():
            raise ValueError(f"eSpeak NG has no voice {voice!r}, or not all of its data")
        for name, value in parameters.items():
            if self._lib.espeak_SetParameter(PARAMETERS[name], value, 0) != 0:
                raise ValueError(f"eSpeak NG refuses {name} = {value}")
        # The library seeds its noise, the breath of some variants, by the clock.
        self._lib.espeak_ng_SetRandSeed(1)
        encoded = text.encode()
        self._sound.clear()
        if self._lib.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, CHARS_UTF8, None, None) != 0:
            raise ValueError("eSpeak NG could not say it")
        return bytes(self._sound)

    def phonemes(self, texts: list[str], voice: str) -> list[str]:
        """How the voice reads each text, in IPA."""
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {voice!r}, or not all of its data")
        return [self._phonemes(text) for text in texts]

    def _phonemes(self, text: str) -> str:
        rest = ctypes.c_char_p(text.encode())
        clauses = []
        while rest.value is not None:  # one clause a call
            clauses.append(self._lib.espeak_TextToPhonemes(ctypes.byref(rest), CHARS_UTF8, PHONEMES_IPA).decode())
        return " ".join(clauses)


def answer(espeak: Espeak, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """What the request asks for, and the sound that belongs to it."""
    if request["do"] == "list":
        return {"voices": espeak.list_voices(request["variants"])}, b""
    if request["do"] == "phonemes":
        return {"phonemes": espeak.phonemes(request["texts"], request["voice"])}, b""
    sounds = [espeak.say(one["text"], one["voice"], one["parameters"]) for one in request["all"]]
    return {"sample_rate_hz": espeak.sample_rate_hz, "sizes": [len(sound) for sound in sounds]}, b"".join(sounds)


def serve(espeak: Espeak, line: bytes) -> None:
    """Answers one request on standard output."""
    try:
        reply, sound = answer(espeak, json.loads(line))
    except ValueError as problem:
        reply, sound = {"error": str(problem)}, b""
    send(reply, sound)


def send(reply: dict[str, Any], sound: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps({**reply, "bytes": len(sound)}).encode() + b"\n" + sound)
    sys.stdout.buffer.flush()


def serve_in_fork(espeak: Espeak, line: bytes) -> None:
    """Answers one request from a copy of this process, and tells when the library takes the copy down with it."""
    child = os.fork()
    if child == 0:
        serve(espeak, line)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status != 0:
        send({"error": f"eSpeak NG crashed on this text (exit status {os.waitstatus_to_exitcode(status)})"})


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who asked: when they end, so does standard input
    try:
        espeak = Espeak(sys.argv[1], sys.argv[2])
    except (OSError, ValueError) as problem:
        send({"error": str(problem)})
        return
    for line in sys.stdin.buffer:
        if not hasattr(os, "fork"):
            serve(espeak, line)
            return
        serve_in_fork(espeak, line)


if __name__ == "__main__":
    main()
