"""What several test files share: writers of tables and bundles, and the fixtures' expectations.

The writers use nothing of the reader's, so that a misunderstanding of a format cannot cancel itself out.
"""
