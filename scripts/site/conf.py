"""Read by Sphinx: README.md and docs/ become a site of plain files. scripts/site.ts starts the build."""

import html
import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes

checkout = Path(__file__).parents[2]
release = json.loads((checkout / "package.json").read_text())["version"]

project = "kubespiffe"
html_title = f"kubespiffe {release}"
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
# A page that is read from the disk may not fetch others, which the extracts in search results need.
html_show_search_summary = False
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["README.md", "docs/*.md", "docs/**/*.md"]
exclude_patterns = ["**/node_modules", "dist", ".*"]
# The anchors of GitHub, so that a link works in both places.
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
# HCL that Pygments does not know is shown without colours, and a section may leave out a level of headings.
suppress_warnings = ["misc.highlighting_failure", "myst.header"]
html_static_path = ["node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js", "site.css"]
html_css_files = ["site.css"]
html_js_files = ["mermaid.tiny.js"]

# In the order in which they are read. A folder that is forgotten here ends the build: its pages are in no list.
folders = ["walkthroughs", "guides", "coming-from", "operations", "security", "reference"]


def add_contents(app, document, source):
    """The list of all pages, beside each page. On GitHub, README.md looks as it stands."""
    if document != root_doc:
        return
    there = [folder for folder in folders if any(Path(app.srcdir, "docs", folder).glob("*.md"))]
    lists = [("Start", ["docs/getting-started", "docs/development"])]
    lists += [(folder.replace("-", " ").capitalize(), [f"docs/{folder}/*"]) for folder in there]
    for caption, pages in lists:
        lines = ["", "", "```{toctree}", ":hidden:", ":glob:", f":caption: {caption}", "", *pages, "```"]
        source[0] += "\n".join(lines)


def folders_as_text(app, page):
    """A link to a folder of the checkout, such as manifests/examples: the site has no page for it."""
    for link in list(page.findall(addnodes.pending_xref)):
        if Path(page["source"]).parent.joinpath(link["reftarget"]).is_dir():
            link.replace_self(link.children)


class Mermaid(Directive):
    """A diagram, drawn in the browser."""

    has_content = True

    def run(self):
        code = html.escape("\n".join(self.content))
        return [nodes.raw("", f'<pre class="mermaid">{code}</pre>', format="html")]


def setup(app):
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", add_contents)
    app.connect("doctree-read", folders_as_text)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
