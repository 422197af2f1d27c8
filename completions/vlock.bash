# bash completion for vlock: made by 'vlock completion bash'
_vlock() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' word
    COMPREPLY=()
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        acquire|release|extend|reacquire|owned|locked|run|status|wait|break|help|completion) command=$word; break ;;
        esac
    done
    case $prev in
    -w|--wait) return ;;
    -t|--ttl) return ;;
    --token) return ;;
    --token-file) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --format) mapfile -t COMPREPLY < <(compgen -W 'shell json github dotenv' -- "$cur"); return ;;
    --note) return ;;
    -E|--conflict-exit-code) return ;;
    --signal) mapfile -t COMPREPLY < <(compgen -W 'TERM INT HUP QUIT USR1 USR2 ALRM KILL' -- "$cur"); return ;;
    --kill-after) return ;;
    --max-runtime) return ;;
    --hold-for) return ;;
    --on-lost) mapfile -t COMPREPLY < <(compgen -W 'stop warn exec:' -- "$cur"); return ;;
    --keep-alive) return ;;
    --fence) return ;;
    -u|--url) return ;;
    --prefix) return ;;
    --user) return ;;
    --password-file) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --cacert) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --cert) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --key) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
    --sni) return ;;
    --connect-timeout) return ;;
    --reply-timeout) return ;;
    esac
    case $command in
    acquire) word=' --nonblock --wait --ttl --token --token-file --format --note --conflict-exit-code --keep-alive --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    release) word=' --token --token-file --if-held --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    extend) word=' --token --token-file --replace --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    reacquire) word=' --ttl --token --token-file --recover --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    owned) word=' --token --token-file --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    locked) word=' --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    run) word=' --nonblock --wait --ttl --token --note --conflict-exit-code --signal --kill-after --max-runtime --hold-for --leave-children --reenter --on-lost --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    status) word=' --json --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    wait) word=' --wait --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    break) word=' --fence --foreign --yes --url --prefix --user --password-file --cacert --cert --key --sni --insecure --connect-timeout --reply-timeout --quiet --verbose --help --version' ;;
    help) word=' --help --version' ;;
    completion) word='bash zsh fish --help --version' ;;
    *) word='acquire release extend reacquire owned locked run status wait break help completion --help --version' ;;
    esac
    [[ $command == help ]] && word+=' acquire release extend reacquire owned locked run status wait break help completion'
    mapfile -t COMPREPLY < <(compgen -W "$word" -- "$cur")
}
complete -o default -F _vlock vlock
