# Completion of ttt in bash: eval "$(ttt completion bash)", in ~/.bashrc to have it always.
_ttt() {
    local program=${COMP_WORDS[0]/#\~/$HOME} kind each
    COMPREPLY=()
    # Bash would break words at = and :, so ttt gets the line and the characters to break at.
    {
        IFS= read -r kind
        while IFS= read -r each; do COMPREPLY+=("$each"); done
    } < <("$program" completion bash -- "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    case $kind in
        open) compopt -o nospace ;;   # the word is not complete yet
        paths) compopt -o filenames ;; # bash quotes them and knows folders
    esac 2>/dev/null # before version 4 there is no compopt
}
complete -F _ttt ttt
