"""What stands on the full-page views, as lines of text: pure functions of a picture, no Textual here."""
