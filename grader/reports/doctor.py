"""`trtprep doctor` for a person."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grader.doctor import Examination
from grader.extras import mend as mend_missing
from grader.processes.sandbox import PROTECTIONS


def print_examination(found: Examination, console: Console) -> None:
    console.print(f"Python {found.system['python']}, {found.system['system']}")
    title = "Tiers (auto takes the first that works)"
    table = Table("tier", "TensorRT", "GPU", "works here", title=title, title_justify="left")
    for tier in found.tiers:
        state = "[green]yes[/green]" if not tier.missing else f"no: {escape(tier.missing)}"
        table.add_row(tier.name, escape(tier.tensorrt), escape(tier.gpu), state)
    console.print(table)
    table = Table("protection", "on", "keeps a candidate's code from", title="Protections", title_justify="left")
    for protection in PROTECTIONS:
        status = found.protections[protection.name]
        mark = "[green]yes[/green]" if status.active else "[red]no[/red]"
        note = f"\n[yellow]{escape(status.why)}[/yellow]" if status.why else ""
        mend = f"\nmend: {escape(status.mend)}" if status.why and status.mend else ""
        table.add_row(protection.name, mark, protection.prevents + note + mend)
    console.print(table)
    missing = [name for name, version in found.packages.items() if not version]
    console.print("packages: " + ", ".join(f"{n} {v}" for n, v in found.packages.items() if v))
    if missing:
        console.print(f"[red]missing: {', '.join(missing)}[/red] (pip install -e .)")
    for extra, absent in found.extras.items():
        if absent:
            mend = escape(f"pip install -e '.[{extra}]'")
            console.print(f"[dim]extra {extra}: {', '.join(absent)} not installed ({mend})[/dim]")
    for names in dict.fromkeys(found.not_run.values()):
        tasks = ", ".join(task for task, lacks in found.not_run.items() if lacks == names)
        console.print(escape(f"not run without {' and '.join(names)}: {tasks} ({mend_missing(names)})"))
    console.print(f"cache: {escape(found.cache)}")
