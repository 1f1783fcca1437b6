# Completion of ttt in fish: ttt completion fish | source, in ~/.config/fish/config.fish to have it
# always.
function __ttt_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l last (string unescape -- (string replace -r '^[\'"]' '' -- $typed))
    set -l program (string replace -r '^~' $HOME -- $words[1])
    set -l lines ($program completion fish -- $words "$last" 2>/dev/null)
    switch "$lines[1]"
        case files folders
            # Let fish complete the path as it does for unknown programs.
            set -l lead (string match -r '^[^=]*=' -- $last)
            set -l path (string replace -r '^([\'"]?)[^=]*=' '$1' -- $typed)
            set -l paths (complete -C "'' $path")
            if test $lines[1] = folders
                set paths (string match -r '^.*/$' -- $paths)
            end
            string replace -r '^' -- "$lead" $paths
        case words
            string join \n -- $lines[2..]
    end
end
complete -c ttt -f -a '(__ttt_complete)'
