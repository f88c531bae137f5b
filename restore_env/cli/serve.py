"""The command `restore-env serve`: a page in the browser on which a photo is restored.

This needs Gradio, which the extra `serve` installs.
"""

import html
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import click

import restore_env
from restore_env.cli.common import begin
from restore_env.cli.report import steps_style
from restore_env.cli.workbench import EXAMPLES, Preview, View, Workbench
from restore_env.cli.worker import Settings, Worker
from restore_env.data.image_io import EXTENSIONS
from restore_env.errors import ImageError, ToolError, is_out_of_memory
from restore_env.inference import check_policy

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

KEPT: Final = 3600
"""Seconds after which Gradio deletes an upload that no session took, and how often it looks."""

WAITING: Final = 20
"""Largest number of photos that wait for their turn."""

BYTES_PER_PIXEL: Final = 8
"""Bytes of a pixel of 16 bits with transparency: a file with more for each pixel is not taken."""

CONTENT_POLICY: Final = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; form-action 'self'"
)
"""What the browser may load for the page: nothing of other hosts."""

STYLE: Final = """
#message .problem { color: var(--error-text-color); font-weight: 600; }
#steps h2 { margin: 1rem 0 .25rem; }
footer { display: none !important; }
"""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """The options of the command; the command line says what they mean."""

    host: str
    port: int
    policy: str
    toolbox: str
    trust: bool
    device: str
    largest: float
    seconds: float


def run(options: ServeOptions) -> None:
    """Serve the page until a signal ends the program.

    Raises:
        ValueError: if Gradio is not installed, or a policy or toolbox cannot be used.
        OSError: if the address cannot be used.
    """
    if find_spec("gradio") is None:
        raise ValueError("gradio is not installed; restore-env[serve] installs it")
    begin({"--policy": options.policy, "--toolbox": options.toolbox}, {})
    toolbox = restore_env.load_toolbox(options.toolbox, trust=options.trust)
    check_policy(restore_env.load_policy(options.policy, toolbox, trust=options.trust))
    settings = Settings(options.policy, options.toolbox, options.trust, options.device)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it, too, deletes all files
    with _listen(options.host, options.port) as listener, TemporaryDirectory(prefix="restore-env-serve-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}  # read when it is imported
        worker = Worker(settings, options.seconds)
        try:
            _serve(Workbench(Path(folder), toolbox, worker, options.largest), listener)
        finally:
            worker.close()


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, or raise an `OSError` that names the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"{host}:{port}: cannot be served ({error.strerror}); choose another --host or --port") from error


def _serve(bench: Workbench, listener: socket.socket) -> None:
    """Serve the page at an address until a signal comes."""
    import uvicorn

    host, port = listener.getsockname()[:2]
    # Pages keep a connection open, so a server that waits for them would never end. Gradio prints its own errors.
    config = uvicorn.Config(make_app(bench), log_level="critical", timeout_graceful_shutdown=1)
    click.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}/ (Ctrl-C ends it)")
    uvicorn.Server(config).run(sockets=[listener])


def make_app(bench: Workbench) -> "FastAPI":
    """Return the server of the page; when it ends, it ends the worker."""
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware import Middleware

    @asynccontextmanager
    async def ending(_: FastAPI) -> AsyncIterator[None]:
        yield
        bench.worker.close()  # else the server would wait for the photo that is being restored

    app = FastAPI(lifespan=ending, middleware=[Middleware(_OwnHostOnly)], docs_url=None, redoc_url=None)
    system = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    size = int(bench.largest * 1e6 * BYTES_PER_PIXEL) + 2**20
    page = make_page(bench)
    css, theme = STYLE + steps_style(), gr.themes.Default(**system)  # Gradio's own fonts come from another host
    found: FastAPI = gr.mount_gradio_app(
        *(app, page, "/"),
        **{"theme": theme, "css": css, "max_file_size": size, "footer_links": [], "run_history": False},
        **{"show_error": False, "ssr_mode": False, "mcp_server": False},
    )
    return found


def make_page(bench: Workbench) -> "gr.Blocks":
    """Return the page, and connect it with what it does."""
    import gradio as gr

    with gr.Blocks(title="restore_env", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.Markdown(
            "# restore_env\nBlurred, noisy and compressed photos are restored with small tools, one after another. "
            f"A photo has at most {bench.largest:g} megapixels and takes at most {bench.worker.seconds:g} seconds. "
            "It is deleted when you close this page."
        )
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                drop = gr.File(label="Drop a photo here", file_types=sorted(EXTENSIONS), height=140, elem_id="drop")
                drop.preprocess = _path_of  # Gradio's own leaves an empty file behind
                example = gr.Dropdown(
                    list(EXAMPLES), value=None, label="or take a distorted example", elem_id="example"
                )
                go = gr.Button("Restore", variant="primary", elem_id="restore")
                strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", elem_id="strength")
                tool = gr.Dropdown(list(bench.tools), label="Try a tool by hand", elem_id="tool")
                with gr.Row():
                    apply, undo, reset = (
                        gr.Button(name, size="md", min_width=60, elem_id=name.lower())
                        for name in ("Apply", "Undo", "Reset")
                    )
                result = gr.DownloadButton("Download the photo", interactive=False, elem_id="result")
                report = gr.DownloadButton("Download the report", interactive=False, elem_id="report")
            with gr.Column(scale=3, min_width=300):
                message = gr.HTML("Drop a photo, or take an example.", elem_id="message")
                slider = gr.ImageSlider(
                    **{"label": "before and after", "type": "filepath", "interactive": False, "max_height": 700},
                    **{"buttons": ["fullscreen"], "elem_id": "slider"},
                )
        steps = gr.HTML(elem_id="steps")
        shown = [message, slider, steps, strength, result, report]

        # Gradio knows by the annotation of an argument that it wants the request, which has the session's name
        def for_session(do: Callable[[str], View]) -> Callable[[gr.Request], list[Any]]:
            def handler(request: gr.Request) -> list[Any]:
                return _last(lambda: do(request.session_hash), shown)

            return handler

        def for_value(do: Callable[[str, Any], View]) -> Callable[[Any, gr.Request], list[Any]]:
            def handler(value: Any, request: gr.Request) -> list[Any]:
                return _last(lambda: do(request.session_hash, value), shown)

            return handler

        def opened(path: str | None, request: gr.Request) -> list[Any]:
            return [None, *_last(lambda: bench.open(request.session_hash, Path(path or "")), shown)]

        def restored(request: gr.Request) -> Iterator[list[Any]]:
            yield from _outputs(lambda: bench.restore(request.session_hash), shown)

        def left(request: gr.Request) -> None:
            bench.forget(request.session_hash)

        common: dict[str, Any] = {"outputs": shown, "show_progress_on": slider, "api_visibility": "private"}
        turn = common | {"concurrency_id": "worker", "concurrency_limit": 1}  # one photo at a time
        drop.upload(opened, drop, **common | {"outputs": [drop, *shown]})
        example.input(for_value(bench.example), example, **common)
        go.click(restored, **turn)
        apply.click(for_value(bench.apply), tool, **turn)
        undo.click(for_session(bench.undo), **common)
        reset.click(for_session(bench.reset), **common)
        often = common | {"trigger_mode": "always_last", "show_progress": "hidden"}
        strength.input(for_value(bench.set_strength), strength, **often)
        page.unload(left)
    page.queue(max_size=WAITING)
    return page


def _last(do: Callable[[], View], shown: Sequence[Any]) -> list[Any]:
    """Do something, and return what the page then shows; see `_outputs`."""
    (last,) = _outputs(lambda: iter([do()]), shown)
    return last


def _outputs(do: Callable[[], Iterator[Preview | View]], shown: Sequence[Any]) -> Iterator[list[Any]]:
    """Do something step by step, and yield what the page shows of it.

    Args:
        do: does it.
        shown: the components: the message, the slider, the steps, the strength and two buttons.
    """
    import gradio as gr

    try:
        for view in do():
            photos = str(view.before), str(view.after)
            if isinstance(view, Preview):
                yield [view.message, photos, *[gr.skip()] * (len(shown) - 2)]
                continue
            result = gr.DownloadButton(value=str(view.result), interactive=True)
            report = gr.DownloadButton(value=view.report and str(view.report), interactive=view.report is not None)
            yield [view.message, photos, view.steps, view.strength, result, report]
    except (ImageError, ToolError, OSError, ValueError, MemoryError, RuntimeError) as error:
        words = html.escape(_told(error))
        yield [f'<span class="problem" role="alert">{words}</span>', *[gr.skip()] * (len(shown) - 1)]


def _told(error: Exception) -> str:
    """Return what the page says about an error, or raise it if nobody expects it."""
    if isinstance(error, (ImageError, ToolError, OSError, ValueError)):
        return " ".join(str(error).split())
    if is_out_of_memory(error):
        return "not enough memory for this photo"
    raise error


def _path_of(upload: Any) -> str | None:
    """Return the path of an uploaded file; Gradio has checked that it is one."""
    return None if upload is None else str(upload.path)


class _OwnHostOnly:
    """Adds a header that lets the browser load nothing from other hosts."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def send_with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", CONTENT_POLICY.encode())
                message["headers"] = [*message["headers"], policy]
            await send(message)

        await self.app(scope, receive, send_with_policy)
