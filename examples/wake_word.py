"""Firmware that listens for "Okay Nabu", and a recording played to it over the emulated board's serial port.

Usage: wake_word.py [OUT [RECORDING.wav]]; without a recording, eSpeak NG speaks. Needs tinygen[audio].
"""

import sys
from pathlib import Path

import tinygen
from tinygen.apps.wakeword.demo import wakeword_files
from tinygen.audio.speech import say
from tinygen.audio.wav import read_wav, write_wav
from tinygen.project.wakeword_json import read_app
from tinygen.verbs.listen import listen


def main(out: Path, recording: Path | None = None) -> None:
    model, config = wakeword_files("okay_nabu")
    options = tinygen.BuildOptions(board="f746zg", app=read_app("wakeword", config, model))
    built = tinygen.build(model, out / "nabu", options)

    if recording is None:
        recording = out / "speech.wav"
        write_wav(recording, say("Okay Nabu, what time is it?"))
    report = listen(built.folder, [read_wav(recording)])
    for found in report.detections:
        print(f"heard at {found.seconds:.2f} s, probability {found.probability:.3f}")
    print(f"{len(report.detections)} times in {recording}")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:]] or [Path("out/examples")]
    main(*arguments)
