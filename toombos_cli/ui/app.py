"""The screen: a table of services above their log, details, and the output of commands."""

import asyncio
import signal
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.driver import Driver
from textual.widgets import DataTable, Footer, Input, Static, TabbedContent, TabPane

from toombos_cli.base.fixes import here
from toombos_cli.ui.actions import ACTIONS, Action
from toombos_cli.ui.background import Background, ThreadFailed
from toombos_cli.ui.command_run import CommandRun, OutputRead
from toombos_cli.ui.details import DetailsRead, details_of, read_details
from toombos_cli.ui.dialogs import Confirmation, KeyHelp
from toombos_cli.ui.log_pane import LogPane
from toombos_cli.ui.readers import LogsRead, StatusRead, WatchedSystem, read_logs, read_status
from toombos_cli.ui.service_table import ServiceTable

_INTERRUPTED = 130
_BINDINGS_OF_COMMANDS = [Binding(one.key, f"run_command('{one.key}')", one.title) for one in ACTIONS]
_MOST_USED = 5
"""So many of the commands come first among the keys that a narrow screen names."""


class OperationsRoom(App[int]):
    """Shows the system until `q`. It returns the exit code: 0, or that of the signal that ended it."""

    CSS_PATH = "screen.tcss"
    TITLE = "toombos"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *_BINDINGS_OF_COMMANDS[:_MOST_USED],
        Binding("slash", "ask('search')", "Search", key_display="/"),
        Binding("f", "ask('filter')", "Filter"),
        Binding("question_mark", "show_keys", "Keys", key_display="?"),
        Binding("q", "leave", "Quit"),
        *_BINDINGS_OF_COMMANDS[_MOST_USED:],
        Binding("c", "interrupt", "Cancel the command", show=False),
        Binding("n", "next_match(1)", "Next match", show=False),
        Binding("N", "next_match(-1)", "Match before", show=False),
        Binding("g", "to_end", "Newest line", show=False),
        Binding("l", "show_pane('logs')", "Logs", show=False),
        Binding("i", "show_pane('details')", "Details", show=False),
        Binding("o", "show_pane('output')", "Output", show=False),
        Binding("T", "toggle_theme", "Light or dark", show=False),
        Binding("ctrl+c", "leave_at_once", "Quit at once", show=False, key_display="^C", priority=True),
    ]

    def __init__(
        self, watched: WatchedSystem, *, light: bool = False, driver_class: type[Driver] | None = None
    ) -> None:
        super().__init__(driver_class)
        self.theme = "textual-light" if light else "textual-dark"
        self._watched = watched
        self._reader: dict[str, Background] = {}
        self._run: CommandRun | None = None
        self._asked = ""
        self._parts: dict[str, list[Text]] = {}
        # Kept, not looked up: what a thread has read may arrive when the screen is being taken apart.
        self._head = Static("reading the status ...", id="head", markup=False)
        self._table = ServiceTable(id="services")
        self._panes = TabbedContent(id="panes")
        self._log_pane = LogPane(id="log")
        self._details = Static(id="detail-text", markup=False)
        self._output_view = VerticalScroll()
        self._output = Static("no command was run yet", id="output-text", markup=False)
        self._box = Input(id="ask", compact=True, classes="hidden")

    def compose(self) -> ComposeResult:
        """Yield the parts of the screen."""
        yield self._head
        yield self._table
        with self._panes:
            with TabPane("Logs (l)", id="logs"):
                yield self._log_pane
            with TabPane("Details (i)", id="details"), VerticalScroll():
                yield self._details
            with TabPane("Output (o)", id="output"), self._output_view:
                yield self._output
        yield self._box
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to read."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.exit, 128 + number)
        self._table.focus()
        self._read("status", partial(read_status, self._watched))

    def on_unmount(self) -> None:
        """Let the threads end."""
        for reader in self._reader.values():
            reader.close()

    @property
    def bug(self) -> Exception | None:
        """The error that has ended the screen, or None."""
        return self._exception

    def _fatal_error(self) -> None:
        """End, and leave `bug` to the caller: Textual would print the variables, in which there may be secrets."""
        self._close_messages_no_wait()

    @property
    def command_run(self) -> CommandRun | None:
        """The last command that a key has started, or None."""
        return self._run

    def _read(self, kind: str, work: "partial[None]") -> None:
        """Let a new thread read one kind of thing, instead of the one before."""
        if kind in self._reader:
            self._reader[kind].close()
        self._reader[kind] = Background(self, work)

    def on_thread_failed(self, message: ThreadFailed) -> None:
        """End with the bug."""
        raise message.error

    # What was read

    def on_status_read(self, message: StatusRead) -> None:
        """Show the status, or why there is none."""
        if message.report is None:
            self._head.update(Text(message.trouble, style="bold red", no_wrap=True, overflow="ellipsis"))
        else:
            self._table.show(message.report)
            short = Text.assemble((self._watched.invocation.project.name, "bold"), "  ", message.report.short)
            warnings = " ".join(message.report.warnings)
            self._head.update(Text.assemble(short, (f"  {warnings}", "yellow")) if warnings else short)
            self._show_details()
        message.source.taken()

    def on_logs_read(self, message: LogsRead) -> None:
        """Show new lines."""
        if message.source is self._reader.get("logs"):
            (self._log_pane.replace if message.first else self._log_pane.add)(message.lines)
        message.source.taken()

    def on_details_read(self, message: DetailsRead) -> None:
        """Show the details."""
        if message.source is self._reader.get("details"):
            self._parts = message.parts
            self._show_details()
        message.source.taken()

    def on_output_read(self, message: OutputRead) -> None:
        """Show the output of the command, and the status as it is after it."""
        if self._run is not None and message.source is self._reader.get("output"):
            lines = [Text(f"$ {self._run.line}", style="bold"), *message.lines]
            end = message.ended or "... (c cancels)"
            self._output.update(Text("\n").join([*lines, Text(f"-- {end}", style="bold" if message.ended else "dim")]))
            self._output_view.scroll_end(animate=False)
        if message.ended:
            self._reader["status"].wake()
        message.source.taken()

    def _show_details(self) -> None:
        if self._panes.active != "details":
            return
        text = Text("\n").join(details_of(self._table.row_of_choice))
        for title, lines in self._parts.items():
            text.append(f"\n{title}\n", style="bold underline")
            text.append_text(Text("\n").join(lines))
        self._details.update(text)

    # What a person does

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Show the log and the details of another service."""
        service = str(event.row_key.value or "")
        self._table.choice = service
        self._read("logs", partial(read_logs, self._watched, service))
        self._follow_details()

    def on_tabbed_content_tab_activated(self) -> None:
        """Read the details only while they are shown."""
        self._follow_details()

    def _follow_details(self) -> None:
        shown = self._panes.active == "details"
        if "details" in self._reader:
            self._reader.pop("details").close()
        if shown:
            self._parts = {}
            self._show_details()
            self._read("details", partial(read_details, self._watched, self._table.choice))

    def action_show_pane(self, name: str) -> None:
        """Show the log, the details or the output."""
        self._panes.active = name

    def action_run_command(self, key: str) -> None:
        """Run the command of a key for the chosen service, after a question if it changes something."""
        action = next(action for action in ACTIONS if action.key == key)
        if self._run is not None and self._run.running:
            self.notify(f"{self._run.line} still runs: o shows it, c cancels it", severity="warning", markup=False)
        elif action.scope == "task" and (self._table.row_of_choice is None or self._table.row_of_choice.kind != "task"):
            self.notify("choose a task first: this is none", severity="warning", markup=False)
        elif action.changes:
            service = self._table.choice
            line = here(*action.argv(service))
            question = Confirmation(f"Run this?\n{line}", arguments=action.arguments)
            self.push_screen(question, partial(self._answered, action, service))
        else:
            self._begin(action, self._table.choice, ())

    def _answered(self, action: Action, service: str, arguments: tuple[str, ...] | None) -> None:
        if arguments is not None:
            self._begin(action, service, ("--", *arguments) if action.scope == "task" and arguments else arguments)

    def _begin(self, action: Action, service: str, arguments: tuple[str, ...]) -> None:
        invocation = self._watched.fresh_invocation()
        self.action_show_pane("output")
        width = max(40, self.size.width - 4)
        words = action.argv(service, arguments)
        self._run = CommandRun(invocation.project, words, width=width, color=not self.no_color)
        self._read("output", partial(self._run.read, invocation.redactor))

    def action_interrupt(self) -> None:
        """Send Ctrl-C to the command that runs."""
        if self._run is not None and self._run.running:
            self._run.interrupt()
        else:
            self.notify("no command runs", markup=False)

    def action_ask(self, what: str) -> None:
        """Ask for the text to search or to filter by."""
        self.action_show_pane("logs")
        self._asked = what
        self._box.placeholder = f"{what}: text; Enter, or Esc for none"
        self._box.value = ""
        self._box.remove_class("hidden")
        self._box.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        if event.input.id == "ask" and self._asked == "filter":
            self._log_pane.filter_by(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Search, and go back to the table."""
        if event.input.id == "ask":
            self._close_box()
            if self._asked == "search" and event.value and not self._log_pane.search(event.value):
                self.notify(f"{event.value!r} is in none of the lines shown", markup=False)

    def on_key(self, event: object) -> None:
        """Let Esc in the box undo what it is for."""
        if getattr(event, "key", "") == "escape" and self._box.has_focus:
            if self._asked == "filter":
                self._log_pane.filter_by("")
            else:
                self._log_pane.search("")
            self._close_box()

    def _close_box(self) -> None:
        self._box.add_class("hidden")
        self._table.focus()

    def action_next_match(self, step: int) -> None:
        """Go to the next match of the search, or the one before."""
        if not self._log_pane.find_next(step):
            self.notify("/ searches; nothing is found now", markup=False)

    def action_to_end(self) -> None:
        """Follow the newest line again."""
        self._log_pane.add(())
        self._log_pane.scroll_end(animate=False)

    def action_toggle_theme(self) -> None:
        """Change between light and dark."""
        self.theme = "textual-light" if self.theme == "textual-dark" else "textual-dark"

    def action_show_keys(self) -> None:
        """Show what each key does."""
        rows = [(b.key_display or b.key, b.description) for b in self.BINDINGS if isinstance(b, Binding)]
        self.push_screen(KeyHelp(rows))

    def action_leave(self) -> None:
        """Quit; ask first while a command runs."""
        if self._run is not None and self._run.running:
            question = f"Quit?\n{self._run.line} still runs: it gets Ctrl-C"
            self.push_screen(Confirmation(question), lambda agreed: self.exit(0) if agreed is not None else None)
        else:
            self.exit(0)

    def action_leave_at_once(self) -> None:
        """Quit as Ctrl-C does anywhere."""
        self.exit(_INTERRUPTED)
