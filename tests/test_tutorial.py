"""docs/tutorial.md does what it says: its commands are run as a reader would paste them, in its order."""

import re

from tests.workspace import ROOT, Workspace


def test_every_command_of_the_tutorial_works(repo: Workspace, tmp_path):
    text = (ROOT / "docs/tutorial.md").read_text().replace("/tmp/formwork", str(tmp_path / "formwork"))
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        lines = block.splitlines()
        for number, line in enumerate(lines):
            if not line.startswith("$ "):
                continue
            output = repo.shell(line[2:]).output
            expected = []
            for said in lines[number + 1 :]:
                if said.startswith("$ "):
                    break
                expected.append(said)
            for said in expected:
                assert said == "..." or said in output, f"{line}\n{output}"
