"""Boards that nothing here compiles for (Xtensa): the ESP-IDF project, its glue against headers that only declare what
it uses, and what the verbs say.

The stand-ins below prove that the glue is C, calls what it means to call, and speaks the protocol over a driver that
behaves as esp-idf's documentation says. They prove nothing about the chip, or about esp-idf itself.
"""

from __future__ import annotations

import configparser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.vendor_library import needs_esp_nn
from tinygen.apps.digits.demo import run_demo
from tinygen.bench.run import BenchOptions, bench
from tinygen.demo import MODEL, load_test_digits
from tinygen.errors import TinygenError
from tinygen.hil.client import DeviceClient
from tinygen.hil.device import open_device
from tinygen.hil.transports import ProcessTransport
from tinygen.targets.boards import load_board
from tinygen.targets.toolchain import HostCode, build_executable, find_toolchain
from tinygen.targets.vendors import CMSIS_NN_LIBRARY, ESP_NN_LIBRARY, find_checkout
from tinygen.verbs.build import BuildOptions, build
from tinygen.verbs.verify import verify

BOARDS = ("esp32", "esp32s3")
STUBS = {
    "driver/uart.h": """
#ifndef STUB_UART_H
#define STUB_UART_H
#include <stddef.h>
#include <stdint.h>
#include "esp_err.h"
typedef int uart_port_t;
typedef void *QueueHandle_t;
typedef enum { UART_DATA_8_BITS = 3 } uart_word_length_t;
typedef enum { UART_PARITY_DISABLE = 0 } uart_parity_t;
typedef enum { UART_STOP_BITS_1 = 1 } uart_stop_bits_t;
typedef enum { UART_HW_FLOWCTRL_DISABLE = 0 } uart_hw_flowcontrol_t;
typedef enum { UART_SCLK_DEFAULT = 4 } uart_sclk_t;
typedef struct {
    int baud_rate;
    uart_word_length_t data_bits;
    uart_parity_t parity;
    uart_stop_bits_t stop_bits;
    uart_hw_flowcontrol_t flow_ctrl;
    uint8_t rx_flow_ctrl_thresh;
    uart_sclk_t source_clk;
} uart_config_t;
#define UART_NUM_0 0
esp_err_t uart_driver_install(uart_port_t uart_num, int rx_buffer_size, int tx_buffer_size, int queue_size,
                              QueueHandle_t *uart_queue, int intr_alloc_flags);
esp_err_t uart_param_config(uart_port_t uart_num, const uart_config_t *uart_config);
esp_err_t uart_set_baudrate(uart_port_t uart_num, uint32_t baudrate);
esp_err_t uart_wait_tx_done(uart_port_t uart_num, uint32_t ticks_to_wait);
int uart_write_bytes(uart_port_t uart_num, const void *src, size_t size);
int uart_read_bytes(uart_port_t uart_num, void *buf, uint32_t length, uint32_t ticks_to_wait);
#endif
""",
    "driver/gpio.h": """
#ifndef STUB_GPIO_H
#define STUB_GPIO_H
#include <stdint.h>
#include "esp_err.h"
typedef enum { GPIO_NUM_0 = 0, GPIO_NUM_MAX = 49 } gpio_num_t;
typedef enum { GPIO_MODE_OUTPUT = 2 } gpio_mode_t;
esp_err_t gpio_reset_pin(gpio_num_t gpio_num);
esp_err_t gpio_set_level(gpio_num_t gpio_num, uint32_t level);
esp_err_t gpio_set_direction(gpio_num_t gpio_num, gpio_mode_t mode);
#endif
""",
    "esp_err.h": "#ifndef STUB_ESP_ERR_H\n#define STUB_ESP_ERR_H\ntypedef int esp_err_t;\n#endif\n",
    "esp_cpu.h": "#include <stdint.h>\nuint32_t esp_cpu_get_cycle_count(void);\n",
    "freertos/FreeRTOS.h": """
#include <stdint.h>
typedef uint32_t TickType_t;
#define portMAX_DELAY 0xFFFFFFFFU
#define pdMS_TO_TICKS(ms) ((TickType_t)(((uint64_t)(ms) * 100U) / 1000U))
""",
    "stub.c": """
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include "driver/gpio.h"
#include "driver/uart.h"
#include "esp_cpu.h"
void app_main(void);
static int installed;
static int configured;
esp_err_t uart_driver_install(uart_port_t n, int rx, int tx, int queue, QueueHandle_t *handle, int flags)
{
    (void)n; (void)tx; (void)queue; (void)handle; (void)flags;
    if (rx <= 128) { exit(10); }
    installed = 1;
    return 0;
}
esp_err_t uart_param_config(uart_port_t n, const uart_config_t *c)
{
    (void)n;
    if (!installed || c->baud_rate != 115200 || c->data_bits != UART_DATA_8_BITS) { exit(11); }
    configured = 1;
    return 0;
}
esp_err_t uart_set_baudrate(uart_port_t n, uint32_t baud) { (void)n; (void)baud; return 0; }
esp_err_t uart_wait_tx_done(uart_port_t n, uint32_t ticks) { (void)n; (void)ticks; return 0; }
int uart_write_bytes(uart_port_t n, const void *src, size_t size)
{
    (void)n;
    if (!configured || write(1, src, size) != (ssize_t)size) { exit(12); }
    return (int)size;
}
int uart_read_bytes(uart_port_t n, void *buf, uint32_t length, uint32_t ticks)
{
    struct pollfd input = {.fd = 0, .events = POLLIN, .revents = 0};
    (void)n;
    if (poll(&input, 1, ticks == 0xFFFFFFFFU ? -1 : (int)(ticks * 10U)) <= 0) { return 0; }
    const ssize_t got = read(0, buf, length);
    if (got <= 0) { exit(0); }
    return (int)got;
}
esp_err_t gpio_reset_pin(gpio_num_t n) { (void)n; return 0; }
esp_err_t gpio_set_level(gpio_num_t n, uint32_t level) { (void)n; (void)level; return 0; }
esp_err_t gpio_set_direction(gpio_num_t n, gpio_mode_t mode) { (void)n; (void)mode; return 0; }
uint32_t esp_cpu_get_cycle_count(void)
{
    static uint32_t count = 0xFFFFFF00U; /* so that it wraps at once */
    count += 100U;
    return count;
}
int main(void) { app_main(); return 0; }
""",
}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("idf")
    return {name: build(MODEL, folder / name, BuildOptions(board=name)).folder for name in BOARDS}


@pytest.mark.parametrize("name", BOARDS)
def test_the_manifest_says_what_was_not_done(projects: dict[str, Path], name: str) -> None:
    manifest = json.loads((projects[name] / "manifest.json").read_text())
    assert manifest["firmware"] is None and manifest["flash_bytes"] is None and manifest["ram_bytes"] is None
    assert (
        "not compiled for Xtensa here" in manifest["target_note"]
        and "untested on the target" in manifest["target_note"]
    )
    assert manifest["host_outputs"] == 1
    assert "untested on the target" in (projects[name] / "report.html").read_text()
    assert not list(projects[name].glob("firmware.*"))


@pytest.mark.parametrize("name", BOARDS)
def test_the_project_names_its_files(projects: dict[str, Path], name: str) -> None:
    folder = projects[name]
    text = (folder / "main/CMakeLists.txt").read_text()
    named = re.findall(r'"(\.\./[^"]+\.c)"', text)
    assert {(folder / "main" / path).resolve() for path in named} == {p.resolve() for p in folder.glob("**/*.c")}
    assert all((folder / "main" / path).is_dir() for path in re.findall(r'"(\.\./[^".]+)"', text))
    defaults = (folder / "sdkconfig.defaults").read_text()
    assert f'CONFIG_IDF_TARGET="{name}"' in defaults and "CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ_240=y" in defaults
    megabytes = {"esp32": 4, "esp32s3": 8}[name]  # WROOM-32 and WROOM-1, as on the boards
    assert f"CONFIG_ESPTOOLPY_FLASHSIZE_{megabytes}MB=y" in defaults
    ini = configparser.ConfigParser()
    ini.read(folder / "platformio.ini")
    section = ini[f"env:{name}"]
    assert (section["framework"], section["platform"]) == ("espidf", "espressif32")


@pytest.mark.parametrize("name", BOARDS)
def test_the_glue_speaks_the_protocol(projects: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    shutil.copytree(projects[name], folder)
    for stub, text in STUBS.items():
        (folder / "stubs" / stub).parent.mkdir(parents=True, exist_ok=True)
        (folder / "stubs" / stub).write_text(text)
    sources = tuple(p.relative_to(folder).as_posix() for p in sorted(folder.glob("**/*.c")))
    code = HostCode(folder, sources, ("model", "firmware/app", "board", "stubs"))
    program = build_executable(code, tmp_path / "program", find_toolchain(None, load_board("host")))
    manifest = json.loads((folder / "manifest.json").read_text())
    images, labels = load_test_digits()
    client = DeviceClient(ProcessTransport([str(program)]), nonce=0)
    try:
        client.wait_for_boot()
        info = client.info()
        assert info.build == manifest["build_id"] and info.clock_hz == 240_000_000
        right = 0
        for image, label in zip(images[:20], labels, strict=False):
            client.load(0, np.ascontiguousarray(image).tobytes())
            assert 0 < client.run() < 10_000  # across the counter's wrap
            right += int(np.argmax(np.frombuffer(client.read(0), np.int8)) == label)
        assert right >= 19
    finally:
        client.close()


@pytest.mark.parametrize("name", BOARDS)
def test_verbs_that_need_a_device_say_what_to_do(projects: dict[str, Path], name: str, tmp_path: Path) -> None:
    inputs = tmp_path / "x.npy"
    np.save(inputs, load_test_digits()[0][:1])
    for attempt in (
        lambda: open_device(projects[name]),
        lambda: run_demo(name, tmp_path / "demo", digits=1),
        lambda: verify(MODEL, inputs, BuildOptions(board=name)),
    ):
        with pytest.raises(TinygenError, match=f"nothing emulates {name}") as caught:
            attempt()
        assert "idf.py flash" in caught.value.fix and "--port" in caught.value.fix
    assert not (tmp_path / "demo").exists()
    with pytest.raises(TinygenError, match="nothing can be counted"):
        bench([], ["int8-kernels"], BenchOptions(board=name, jobs=1))


@needs_esp_nn
def test_esp_nn_is_a_component(tmp_path: Path) -> None:
    """Fetched from Espressif's registry, in the version that the scratch is of; proved with the plain C."""
    report = build(MODEL, tmp_path / "out", BuildOptions(board="esp32s3", kernels="esp-nn"))
    assert report.as_json()["host_outputs"] == 1
    component = yaml.safe_load((tmp_path / "out/main/idf_component.yml").read_text())
    checkout = find_checkout(ESP_NN_LIBRARY, None)
    assert component == {"dependencies": {"espressif/esp-nn": f"=={checkout.components['espressif/esp-nn']}"}}
    assert not (tmp_path / "out/esp-nn").exists()
    assert report.as_json()["library"]["name"] == "ESP-NN"
    kernels = (tmp_path / "out/model/digits_kernels.c").read_text()
    assert kernels.index("#include <sdkconfig.h>") < kernels.index("#include <esp_nn.h>")
    # The vector unit's forms want scratch where the plain ones want none.
    plain = build(MODEL, tmp_path / "plain", BuildOptions(board="esp32", kernels="esp-nn"))
    sizes = [[layer["scratch_bytes"] for layer in built.as_json()["layers"]] for built in (report, plain)]
    assert sum(sizes[0]) > sum(sizes[1])


def test_cmsis_nn_is_no_component(tmp_path: Path) -> None:
    for mark in CMSIS_NN_LIBRARY.marks:
        path = tmp_path / "library" / mark
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
    with pytest.raises(TinygenError, match="CMSIS-NN is no component of ESP-IDF"):
        _ = find_checkout(CMSIS_NN_LIBRARY, tmp_path / "library").components
