"""From sources to instances, whatever finds them: settings, tiles, mirrored views."""
