"""`lewm doctor`: versions, devices, which backend each operator takes and why, and a self-test of each operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lewm_cli import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from lewm.doctor import Diagnosis


def doctor(json: options.Json = False) -> None:
    """Show what runs where on this machine and why, and test every operator against its definition.

    Exit code 1 if one is wrong or cannot run. LEWM_KERNELS=torch, compiled or triton forces a backend.
    """
    from lewm.doctor import diagnose
    from lewm.errors import LewmError

    diagnosis = diagnose()
    if json:
        output.show_json(diagnosis.as_dict())
    else:
        output.show(*_versions(diagnosis), "", _devices(diagnosis), "", _operators(diagnosis))
    ill = [report for report in diagnosis.operators if not report.healthy]
    if ill:
        names = "; ".join(f"{report.operator} on {report.device}: {report.problem}" for report in ill)
        raise LewmError(
            f"expected every operator to pass its self-test, {len(ill)} did not: {names}",
            "Set LEWM_KERNELS=torch to do without Triton, and report this page if that does not help.",
        )


def _versions(diagnosis: Diagnosis) -> list[str]:
    shown = ", ".join(f"{name} {version or 'cannot be imported'}" for name, version in diagnosis.versions.items())
    return [shown] if diagnosis.forced is None else [shown, f"LEWM_KERNELS={diagnosis.forced}"]


def _devices(diagnosis: Diagnosis) -> Table:
    table = output.plain_table("device", "", "memory")
    for device in diagnosis.devices:
        table.add_row(device.name, device.description, f"{device.memory / 2**30:.1f} GiB")
    return table


def _operators(diagnosis: Diagnosis) -> Table:
    table = output.plain_table("operator", "device", "backend and why", "self-test", "error")
    for report in diagnosis.operators:
        error = "" if report.error is None else f"{report.error:.1e}"
        verdict = "passed" if report.healthy else output.styled("failed", "bold red")
        table.add_row(report.operator, report.device, f"{report.backend or 'none'}: {report.reason}", verdict, error)
    table.caption = "error: relative to the definition in float64"
    return table
