# Shell functions for the scripts that set a machine up: POSIX sh, to be sourced.
# shellcheck shell=sh

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root: $* (run it as root, or install sudo)"
    fi
}

# Those of the named packages that are not installed, one a line.
missing() {
    for package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in
            installed) ;;
            *) say "$package" ;;
        esac
    done
}

# A repository of the machine's that does not answer is none of our business: whether what
# we need can be had shows when we ask for it.
apt_update() { as_root apt-get -q update || say "apt-get update had trouble; going on"; }

apt_install() {
    set -- env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 install "$@"
    case $* in
        *-server*) without_services as_root "$@" ;;
        *) as_root "$@" ;;
    esac
}

# Runs the rest, an installation that brings servers: none of them is started, now or at boot.
without_services() (
    guard=/usr/sbin/policy-rc.d
    if [ ! -e "$guard" ]; then
        trap 'as_root rm -f "$guard"' EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM HUP
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$guard" >/dev/null
        as_root chmod 755 "$guard"
    fi
    "$@" || exit
    for server; do # a package's name or the path of its .deb
        server=${server##*/}
        case $server in
            *-server*) as_root systemctl --quiet disable "${server%%_*}" 2>/dev/null || : ;;
        esac
    done
)

# Installs what is not there yet. Nothing missing: no network.
need() {
    have apt-get || die "there is no apt-get here: install by hand what these packages hold: $*"
    # shellcheck disable=SC2046 # package names hold no blanks
    set -- $(missing "$@")
    [ $# -gt 0 ] || return 0
    say "installing: $*"
    apt_update
    apt_install "$@"
}

# offers PACKAGE VERSION: the machine's own apt has PACKAGE in at least that version.
offers() {
    version=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p')
    case $version in '' | '(none)') return 1 ;; esac
    dpkg --compare-versions "$version" ge "$2"
}

all_offered() {
    for package; do
        offers "$package" 0 || return 1
    done
}

# need, for those of the packages that this release of the system has at all.
wish() {
    # shellcheck disable=SC2046 # package names hold no blanks
    set -- $(missing "$@")
    [ $# -gt 0 ] || return 0
    all_offered "$@" || apt_update
    for wished; do
        ! offers "$wished" 0 || need "$wished"
    done
}

# The distribution's mirror, from the machine's own apt configuration, whatever its format.
# Its lists must be there; the first time they may not be.
mirror() {
    codename=$(. /etc/os-release && say "${VERSION_CODENAME-}")
    # shellcheck disable=SC2016 # $(...) is apt's here
    apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(RELEASE) $(REPO_URI)' 2>/dev/null |
        awk -v c="$codename" '
            ($1 == "Debian" || $1 == "Ubuntu") && $2 == c {
                if (!uri || ($3 == c && !exact)) uri = $4
                if ($3 == c) exact = 1
            }
            END { if (!uri) exit 1; print uri }'
}

# A directory for an apt of our own; removed at exit, also after a signal. In /tmp, whatever
# TMPDIR says, and open to read: apt fetches as the user _apt.
scratch=
make_scratch() {
    [ -z "$scratch" ] || return 0
    scratch=$(mktemp -d /tmp/vlock-apt.XXXXXX)
    chmod 755 "$scratch"
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

# private_apt TYPE SUITE COMPONENT...: makes `$scratch/apt.conf`, an apt configuration that
# knows the distribution's SUITE and nothing else, and fetches its lists. The machine's own
# sources, lists and cache stay as they are; how to reach the network (proxies, ...) is taken
# over. apt checks the signature against the distribution's own keyring.
private_apt() {
    make_scratch
    uri=$(mirror) || { apt_update && uri=$(mirror); } ||
        die "apt's configuration names no mirror of this distribution"
    keyring=/usr/share/keyrings/$(. /etc/os-release && say "$ID")-archive-keyring.gpg
    [ -r "$keyring" ] || die "$keyring is missing"
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
    type=$1 suite=$2
    shift 2
    say "$type [signed-by=$keyring] $uri $suite $*" >"$scratch/sources.list"
    {
        apt-config dump | grep -E '^(Acquire|APT::Sandbox)::'
        cat <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$scratch/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$scratch/lists";
Dir::Cache "$scratch/cache";
CONF
    } >"$scratch/apt.conf"
    private apt-get -q update
}

private() { APT_CONFIG="$scratch/apt.conf" "$@"; }

# backport PACKAGE...: installs packages that only the distribution's backports may have; what
# they depend on comes from the machine's own apt, whose configuration stays as it is.
backport() (
    # shellcheck disable=SC2046 # package names hold no blanks
    set -- $(missing "$@")
    [ $# -gt 0 ] || exit 0
    apt_update
    if all_offered "$@"; then
        apt_install "$@"
        exit
    fi
    private_apt deb "$(. /etc/os-release && say "$VERSION_CODENAME")-backports" main
    mkdir "$scratch/debs"
    cd "$scratch/debs" || exit
    private apt-get -q download "$@"
    chmod 644 ./*.deb
    apt_install ./*.deb
)
