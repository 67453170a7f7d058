"""What an installation gives, and what an import costs."""

import subprocess
import sys
from importlib.metadata import files, version

import pytest

from lavis_asym import __version__, cli, paths


def test_importing_is_light():
    code = (
        "import sys, lavis_asym, lavis_asym.asymmetry, lavis_asym.errors, lavis_asym.compat, lavis_asym.paths;"
        "heavy = {'torch', 'lavis', 'transformers'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("room", ["fusion", "losses", "evaluation", "encoders"])
def test_pure_rooms_know_nothing_of_lavis(room):
    code = f"import sys, lavis_asym.{room}; assert 'lavis' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_shipped_configurations_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert paths.find_config("projects/asym/demo.yaml").is_file()
    assert paths.find_config("asym/custom.yaml").is_file()
    (tmp_path / "own.yaml").write_text("")
    for wrong, near in (
        ("projects/asym/costum.yaml", "did you mean 'projects/asym/custom.yaml'"),
        ("asym/dmo.yaml", "did you mean 'projects/asym/demo.yaml'"),
        ("ovn.yaml", "did you mean 'own.yaml'"),
        ("x", "known: own.yaml, projects/asym/coco.yaml, "),
    ):
        with pytest.raises(FileNotFoundError, match=f"no such file, neither here nor as .*{near}"):
            paths.find_config(wrong)


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "projects" / "asym").mkdir(parents=True)
    (tmp_path / "projects" / "asym" / "demo.yaml").write_text("")
    assert paths.find_config("projects/asym/demo.yaml").read_text() == ""


@pytest.mark.parametrize("verb", ["train", "evaluate"])
def test_lavis_has_its_launchers_and_their_help_teaches(verb):
    done = subprocess.run([sys.executable, "-m", f"lavis.{verb}", "--help"], capture_output=True, text=True, check=True)
    for word in ("--cfg-path", "--options", "examples:", "projects/asym/custom.yaml", "datasets.asym_custom.root=DIR"):
        assert word in done.stdout


def test_a_bug_report_can_name_version_and_commit(capsys, monkeypatch):
    for commit, said in (("0123456789ab+", f"lavis-asym {__version__}, commit 0123456789ab+\n"),
                         (None, f"lavis-asym {__version__}\n")):  # fmt: skip
        monkeypatch.setattr(cli, "commit", lambda commit=commit: commit)
        with pytest.raises(SystemExit) as stop:
            cli.main(["--version"])
        assert stop.value.code == 0 and capsys.readouterr().out == said
    assert version("lavis-asym") == __version__


def test_uninstalling_takes_nothing_of_lavis():
    ours, lavis = ({str(file) for file in files(name)} for name in ("lavis-asym", "salesforce-lavis"))
    assert "lavis/__init__.py" in lavis and not ours & lavis
