#!/bin/sh
# section.sh DIR NAME SECONDS DEED: what vlock guards in the soak. Whoever is in here holds the
# kernel lock DIR/NAME.lock, and so does everything that it starts.
dir=$1 name=$2 seconds=$3 deed=$4
exec 9>>"$dir/$name.lock"
flock -n 9 || echo "$name $VLOCK_FENCE $deed $$" >>"$dir/overlaps"
echo "$VLOCK_FENCE $$" >>"$dir/$name.began"
case $deed in
stray) setsid sleep 60 & ;;
deaf) (trap '' TERM && exec setsid sleep 60) & ;;
daemon) (setsid sleep 60 &) ;;
esac
count=$(cat "$dir/$name.count")
sleep "$seconds"
echo $((count + 1)) >"$dir/$name.count.$$"
mv "$dir/$name.count.$$" "$dir/$name.count"
echo "$VLOCK_FENCE" >>"$dir/$name.ended"
