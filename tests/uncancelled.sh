#!/bin/sh
# usage: tests/uncancelled.sh LIBBROOD.a
#
# No function of the library is a cancellation point: what pthreads(7) and glibc have of these, and the library uses, must be
# in lib/os/uncancelled.h, with which all of it is compiled.
set -eu
header=$(dirname "$0")/../lib/os/uncancelled.h

points='accept accept4 aio_suspend backtrace_symbols_fd clock_nanosleep close closedir cond_timedwait connect copy_file_range creat dprintf
epoll_pwait epoll_pwait2 epoll_wait eventfd_read eventfd_write fallocate fclose fcntl fdatasync fflush fgetc fgets fopen fprintf fputc
fputs fread freopen fscanf fsync ftw fwrite getc getchar getdelim getline getrandom gets glob lockf mkstemp mq_receive mq_send
mq_timedreceive mq_timedsend msgrcv msgsnd msync nanosleep nftw open openat opendir pause perror poll popen posix_fadvise
posix_fallocate ppoll pread preadv preadv2 printf pselect pthread_clockjoin_np pthread_cond_clockwait pthread_cond_timedwait
pthread_cond_wait pthread_join pthread_testcancel pthread_timedjoin_np putc putchar puts pwrite pwritev pwritev2 read readdir readv
recv recvfrom recvmmsg recvmsg rewind scandir scanf select sem_clockwait sem_timedwait sem_wait send sendfile sendmmsg sendmsg
sendto sigpause sigsuspend sigtimedwait sigwait sigwaitinfo sleep splice sync_file_range syslog system tcdrain tee tmpfile usleep
vdprintf vfprintf vmsplice vprintf wait wait3 wait4 waitid waitpid write writev'

used=$(nm -u "$1" | awk 'NF == 2 && $1 ~ /^[Uw]$/ { print $2 }' | sed 's/@.*//; s/^__\(.*\)_chk$/\1/; s/64$//; s/64v2$/v2/' | sort -u)
[ -n "$used" ] || { echo "nm says nothing of $1"; exit 1; }

status=0
for name in $points; do
    case "
$used
" in
    *"
$name
"*)
        grep -q "^#define $name(\.\.\.)" "$header" || {
            echo "the library uses $name(), a cancellation point that lib/os/uncancelled.h does not have"
            status=1
        } ;;
    esac
done
exit $status
