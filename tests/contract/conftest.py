"""Messages of the contract's checks show values: they are plain functions outside the tests' folder."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("journalkit.testing.contract", "journalkit.testing.contract_links")
