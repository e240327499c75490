#!/bin/sh
# /usr/local/sbin/denizen, for root: runs a command as denizen.service runs, with its user, settings
# and folder: denizen users list. Paths are whole ones, of files that the user denizen may reach.
exec systemd-run --quiet --collect --wait --pty --pipe --uid=denizen \
  --property=UMask=0077 \
  --property=Environment=DENIZEN_DATA_DIR=/var/lib/denizen \
  --property=EnvironmentFile=-/etc/denizen/environment \
  /opt/denizen/bin/denizen "$@"
