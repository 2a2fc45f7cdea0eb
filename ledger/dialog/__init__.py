"""The dialog before history: intents, their steps, and the hand-off that makes one an entry."""
