#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the page around a report's data, as two strings of C: what stands before it and after it.

    page.py OUT.C PAGE.HTML VENDORED.JS VENDORED.CSS LICENCES STYLE.CSS SCRIPT.JS...

The page's policy forbids every request and every script and style but these, which it names by
their hashes."""
import base64
import hashlib
import html
import pathlib
import re
import sys

DATA = "{{data}}"


def policy_source(text):
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def embedded(text):
    """As the content of an element that is not parsed, which must not hold its own end."""
    if re.search(r"</(script|style)|<!--", text, re.I):
        sys.exit("page.py: a script or style holds what would end it")
    return text


def c_string(name, text):
    data = text.encode()
    lines = [", ".join(map(str, data[at:at + 24])) for at in range(0, len(data), 24)]
    return (f"const unsigned char {name}[] = {{\n    " + ",\n    ".join(lines)
            + f"}};\nconst size_t {name}_size = sizeof({name});\n")


out, page, vendored_script, vendored_style, notice, style, *scripts = map(pathlib.Path, sys.argv[1:])
own = "\n".join(script.read_text() for script in scripts)
script = embedded(vendored_script.read_text() + "(() => {\n'use strict';\n" + own + "})();\n")
style = embedded(vendored_style.read_text() + style.read_text())
text = page.read_text()
for name, value in {"style": style, "script": script, "licences": html.escape(notice.read_text()),
                    "script-source": policy_source(script), "style-source": policy_source(style)}.items():
    if text.count("{{" + name + "}}") != 1:
        sys.exit(f"page.py: {page} must hold {{{{{name}}}}} once")
    text = text.replace("{{" + name + "}}", value)
before, after = text.split(DATA)
out.write_text("/* Made by page.py. */\n#include \"model/report_page.h\"\n\n"
               + c_string("report_page_before", before) + c_string("report_page_after", after))
