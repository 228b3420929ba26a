"""What a project may set and where its things stand: settings, places, the demo. Standard library only."""
