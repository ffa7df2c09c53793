"""The commands that release a run and look at a release: release, release verify, release schema. cli.py lists the group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


class _Packs(TyperGroup):
    """What names none of its commands is a run to pack: `edgekd release RUN` stands for `edgekd release pack RUN`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["pack", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Packs,
    no_args_is_help=True,
    subcommand_metavar="RUN --format … --version … | verify DIR | schema",
    help="Pack what passed, for Gradle, Xcode, CMake, registries and fleets; look whether a release is what was released.",
)


@app.command("pack")
def release_pack(
    run: Annotated[Path, typer.Argument(help="A finished run of `edgekd build`.", show_default=False)],
    version: Annotated[str, typer.Option("--version", help="MAJOR.MINOR.PATCH, as in 1.4.0 or 2.0.0-rc.1.", show_default=False)],
    formats: Annotated[str, typer.Option("--format", help="Bundles: some of android, ios, mcu, oci, openvino, with commas.")] = "",
    group: Annotated[str, typer.Option("--group", help="Whose it is: a reversed domain name, as Maven wants it.")] = "local.models",
    out: Annotated[Path, typer.Option("--out", help="The folder of releases.")] = Path("releases"),
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key (PEM, elliptic) to sign with; its password in $EDGEKD_KEY_PASSWORD.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Release a run that passed (`edgekd release RUN` does it, too): bundles, manifest, model card, bill of materials, and a signature.

    A published version never changes: released again it is the same, byte for byte, or it is refused.

    \b
    edgekd release runs/keywords-pixel-8-0123456789 --format android,ios --version 1.4.0 --group com.example.models
    edgekd release verify releases/keywords-pixel-8-1.4.0 --public-key key.pub
    """
    from edgekd import console
    from edgekd.releasing import Order, password, release  # numpy, jinja2, jsonschema

    wanted = tuple(name for name in (part.strip() for part in formats.split(",")) if name)
    order = Order(version, group, wanted, out, key, password() if key else "")
    with console.bars() as shown:
        done = release(run, order, shown)
    released = done.released
    if as_json:
        said = {"path": str(released.folder), "new": done.new, "signed": done.signed, "manifest": dict(released.manifest)}
        typer.echo(json.dumps(said, indent=2, ensure_ascii=False))
        return
    total = sum(entry["bytes"] for entry in released.manifest["files"].values())
    typer.echo(f"{released.folder}{'' if done.new else ': is there already, with the same bytes'}")
    typer.echo(f"  {len(released.manifest['files'])} files, {total:,} B; bundles: {', '.join(released.manifest['formats']) or 'none'}")
    typer.echo(f"  {'signed' if done.signed else 'not signed: --key KEY.pem signs it'}")


@app.command("verify")
def release_verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a release.", show_default=False)],
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="Public key (PEM) of whoever should have signed it.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Is it what was released: no file changed, missing or added, and, with a public key, signed by its owner.

    Without a key the files are compared with the manifest alone, which whoever changed them could have written anew. Exit code 1 where
    anything is wrong, 2 for what is no release.
    """
    from edgekd.lazy import load

    checked = load("edgekd.release.check:check")(folder, public_key)
    if as_json:
        said = {"path": str(folder), "name": checked.released.name, "ok": checked.ok, "problems": list(checked.problems)}
        # In ASCII: what is wrong with a file may be its name.
        typer.echo(json.dumps({**said, "signature": checked.signature}, indent=2))
    else:
        for problem in checked.problems[:_SHOWN]:
            typer.echo(problem.encode("unicode_escape").decode() if not problem.isprintable() else problem)
        if (more := len(checked.problems) - _SHOWN) > 0:
            typer.echo(f"and {more} more: --json names them all")
        files = len(checked.released.manifest["files"])
        typer.echo(f"{folder}: {f'{files} files are as they were released' if checked.ok else 'NOT what was released'}")
        typer.echo(f"  signature: {_SIGNATURE[checked.signature]}")
    if not checked.ok:
        raise typer.Exit(1)


@app.command("schema")
def release_schema() -> None:
    """The JSON Schema of a release's manifest."""
    from importlib.resources import files

    typer.echo(files("edgekd.release").joinpath("manifest.schema.json").read_text("utf-8"), nl=False)


#: More lines than that nobody reads.
_SHOWN = 100
#: What is said of a signature, so that nobody takes "not looked at" for "good".
_SIGNATURE = {
    "good": "good, by the owner of the public key",
    "bad": "NOT good",
    "unchecked": "there is one, which was not checked: --public-key KEY.pub does",
    "none": "there is none: anyone could have made this folder",
}
