#compdef ttt
# Completion of ttt in zsh: eval "$(ttt completion zsh)", in ~/.zshrc to have it always; or this
# text as a file named _ttt in a folder of $fpath.
_ttt() {
    local program=${~${(Q)words[1]}} line kind
    local -a lines whole open
    lines=("${(@f)$("$program" completion zsh -- "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    kind=$lines[1]
    if [[ $kind == (files|folders) ]]; then
        [[ $PREFIX == *=* ]] && compset -P 1 '*='
        if [[ $kind == folders ]]; then _files -/; else _files; fi
        return
    fi
    for line in "${(@)lines[2,-1]}"; do
        line="${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}"
        # A word that ends so is not complete yet.
        if [[ ${line%%:*} == *[=.] ]]; then open+=("$line"); else whole+=("$line"); fi
    done
    _describe -t words ttt open -S '' -- whole
}
if [[ $funcstack[1] == _ttt ]]; then
    _ttt "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _ttt ttt
fi
