# Ends process $1 and removes directory $2 (may be empty) when our standard input closes without a farewell line.
# Reason: a test process that is killed runs no destructor, and Rust's statics never run theirs; but the kernel
# always closes the pipe that this script reads.
read -r farewell && exit 0
kill -KILL "$1"
[ -z "$2" ] && exit 0
sleep 1 # so that the dying process no longer writes there
rm -rf -- "$2"
