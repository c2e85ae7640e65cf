#!/usr/bin/env python3
"""The documentation says what the programs and the header say: settings, commands, functions,
errors. And it holds together: links and anchors lead somewhere, manual pages are well formed, C
compiles.

    docs.py ROOT LOCKSTEPD LOCKSTEP COMPILER...

Prints what is wrong, a line each. It does not judge whether a sentence is true."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WIDTH = 130  # columns of Markdown; tables, code and lines with a long link cannot be broken


def output_of(program, *arguments):
    return subprocess.run([program, *arguments], check=True, capture_output=True, text=True).stdout


# ---- settings ------------------------------------------------------------------------------------

def settings_of_help(text):
    """name: (default, what may be given, whether CONFIG SET changes it)"""
    found = re.findall(r"^ +--([a-z-]+) \(default: (.*?)(?:; ((?:from|at least) .*?))?"
                       r"(; CONFIG SET changes it)?\)$", text, re.M)
    return {name: ("empty" if default == "none" else default, given, runtime != "")
            for name, default, given, runtime in found}


def settings_of_page(text):
    section = text.split(".Sh SETTINGS")[1].split(".Sh ")[0]
    found = {}
    for part in section.split(".It Cm ")[1:]:
        default = re.search(r"^(?:Default: ([^\s,]+)(?:, (.*))?\.|Default:\n\.Pa (\S+) \.)$", part,
                            re.M)
        found[part.split()[0]] = (default and (default[1] or default[3]),
                                  default and default[2] or "", "\nRuntime." in part)
    return found


def check_settings(root, lockstepd):
    settings = settings_of_help(output_of(lockstepd, "--help"))
    page = settings_of_page((root / "man/lockstepd.8").read_text())
    sample = (root / "packaging/lockstepd.conf").read_text()
    if not settings:
        yield "lockstepd --help lists no settings"
    for name, said in settings.items():
        if name not in page:
            yield f"man/lockstepd.8: the setting {name} is missing"
        elif page[name] != said:
            yield (f"man/lockstepd.8: {name} has default, range and runtime {page[name]}, "
                   f"not {said}")
        if not re.search(rf"^#? ?{name}(\s|$)", sample, re.M):
            yield f"packaging/lockstepd.conf: the setting {name} is missing"
    for name in page.keys() - settings.keys():
        yield f"man/lockstepd.8: there is no setting {name}"


# ---- commands ------------------------------------------------------------------------------------

def check_commands(root, lockstepd):
    if (root / "docs/commands.md").read_text() != output_of(lockstepd, "--print-commands"):
        yield "docs/commands.md: not what lockstepd --print-commands prints"


def check_cli(root, lockstep):
    page = (root / "man/lockstep.1").read_text()
    commands = re.findall(r"^  ([a-z]+) {2,}\S", output_of(lockstep, "--help"), re.M)
    if not commands:
        yield "lockstep --help lists no commands"
    for command in commands:
        if command == "help":
            continue
        if not re.search(rf"^\.It Cm {command}\b", page, re.M):
            yield f"man/lockstep.1: the command {command} is missing"
        for option in re.findall(r"^  --([a-z-]+)", output_of(lockstep, "help", command), re.M):
            if f"Fl -{option}" not in page:
                yield f"man/lockstep.1: the option --{option} of {command} is missing"


# ---- the library ---------------------------------------------------------------------------------

def words(text):
    return " ".join(text.split())


def functions_of_header(text):
    """(return type, name, arguments...)"""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"^#(.*\\\n)*.*$", "", text, flags=re.M)
    for head, arguments in re.findall(r"\bLS_API\s+([^;{}]*?)\(([^;]*?)\);", text):
        result, name = re.fullmatch(r"(.*?)(ls_\w+)", words(head)).groups()
        yield (result.strip(), name, *(words(argument) for argument in arguments.split(",")))


def functions_of_page(text):
    synopsis = text.split(".Sh SYNOPSIS")[1].split(".Sh ")[0]
    for result, name, arguments in re.findall(r'^\.Ft "?(.*?)"?\n\.Fn (\w+) (.*)$', synopsis, re.M):
        yield (result, name, *re.findall(r'"(.*?)"', arguments))


def check_library(root):
    header = (root / "include/lockstep.h").read_text()
    page = (root / "man/lockstep.3").read_text()
    declared = set(functions_of_header(header))
    for function in sorted(declared - set(functions_of_page(page))):
        yield f"man/lockstep.3: the synopsis lacks {function}"
    for function in sorted(set(functions_of_page(page)) - declared):
        yield f"man/lockstep.3: the header lacks {function}"
    described = page.split(".Sh DESCRIPTION")[1].split(".Sh ")[0]
    for _, name, *_ in sorted(declared):
        if not re.search(rf"^\.Fn .*\b{name}\b", described, re.M):
            yield f"man/lockstep.3: {name} is not described"
    protocol = (root / "docs/protocol.md").read_text().split("\n## Errors")[1].split("\n## ")[0]
    for code, word in re.findall(r'^ *X\((LS_\w+), -\d+, "(\w+)"', header, re.M):
        if f".It Er {code}\n" not in page:
            yield f"man/lockstep.3: the error {code} is missing"
        if not re.search(rf"^\| [^|]*`{word}\b", protocol, re.M):
            yield f"docs/protocol.md: the error word {word} is missing"


# ---- what can be compiled ------------------------------------------------------------------------

def programs(root):
    page = (root / "man/lockstep.3").read_text()
    for block in re.findall(r"^\.Bd -literal\n(.*?)^\.Ed", page, re.M | re.S):
        yield "man/lockstep.3", block.replace(r"\e", "\\")
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        for block in re.findall(r"^```c\n(.*?)^```", path.read_text(), re.M | re.S):
            yield path.relative_to(root), block


def check_programs(root, compiler):
    for path, text in programs(root):
        with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
            source.write(text)
            source.flush()
            done = subprocess.run([*compiler, "-fsyntax-only", "-std=c11", "-Wall", "-Wextra",
                                   "-Werror", "-I", root / "include", source.name],
                                  capture_output=True, text=True)
        if done.returncode != 0:
            yield f"{path}: a program does not compile: {done.stderr}"


def check_pages(root):
    mandoc = shutil.which("mandoc")
    for path in sorted((root / "man").glob("*.[1-8]")) if mandoc else []:
        done = subprocess.run([mandoc, "-T", "lint", "-W", "warning", path],
                              capture_output=True, text=True)
        yield from done.stdout.splitlines()


# ---- Markdown ------------------------------------------------------------------------------------

def without_code(text):
    return re.sub(r"^```.*?^```|^ {4}.*?$", "", text, flags=re.M | re.S)


def anchors(text):
    """As GitHub makes them of headings."""
    for heading in re.findall(r"^#+ (.*)$", without_code(text), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def check_links(root, path):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        to = (path.parent / file).resolve() if file else path
        if not to.exists():
            yield f"{path.relative_to(root)}: {target} leads nowhere"
        elif anchor and anchor not in anchors(to.read_text()):
            yield f"{path.relative_to(root)}: {target} is no heading there"


def check_width(root, path):
    fenced = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        fenced ^= line.startswith("```")
        if len(line) > WIDTH and not fenced and not line.startswith(("|", "    ")):
            yield f"{path.relative_to(root)}:{number}: over {WIDTH} columns"


def faults(root, lockstepd, lockstep, compiler):
    yield from check_settings(root, lockstepd)
    yield from check_commands(root, lockstepd)
    yield from check_cli(root, lockstep)
    yield from check_library(root)
    yield from check_programs(root, compiler)
    yield from check_pages(root)
    for path in [*sorted(root.glob("*.md")), *sorted((root / "docs").glob("*.md"))]:
        yield from check_links(root, path)
        yield from check_width(root, path)


found = list(faults(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]))
print(*found, sep="\n")
sys.exit(1 if found else 0)
