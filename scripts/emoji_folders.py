#!/usr/bin/env python3
"""Sorts the emoji of the npm package emoji-datasource-twitter (MIT) into a folder a group: colour images in 9 classes.

    npm pack emoji-datasource-twitter@16.0.0 && tar xzf emoji-datasource-twitter-16.0.0.tgz
    scripts/emoji_folders.py package DIR
    hardgrad train qat --data DIR --set data.size=[32,32] --set data.channels=3
"""

import json
import shutil
import sys
from pathlib import Path

package, out = map(Path, sys.argv[1:])
for emoji in json.loads((package / "emoji.json").read_text()):
    image = package / "img/twitter/64" / emoji["image"]
    # Skin tones are parts, not emoji.
    if emoji["category"] != "Component" and image.exists():
        folder = out / emoji["category"]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, folder)
