"""What somebody meets who has just cloned this and types the obvious."""


def test_a_start_without_dry_run_says_that_it_was_live_mode_and_what_needs_no_settings(toombos):
    done = toombos("start")
    assert done.returncode == 3
    assert "API_KEY: is required in live mode" in done.stderr
    assert done.stderr.endswith(
        "note: this was live mode; the dry-run system needs no settings: toombos start --dry-run\n"
    )
