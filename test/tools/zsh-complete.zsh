# What zsh completes: an interactive shell on a terminal of its own gets each line, and the key that completes.
#   zsh -f zsh-complete.zsh SCRIPT LINE ...      prints the matches of each line in one line
zmodload zsh/zpty
matches=$(mktemp)
trap 'rm -f $matches' EXIT
zpty shell "TERM=dumb PS1= zsh -f -i"
zpty -w shell "
autoload -Uz compinit; compinit -u -D; source ${(q)1}
compadd() { local -a hits; builtin compadd -O hits \"\$@\"; print -rn -- \"\$hits \" >> ${(q)matches}; builtin compadd \"\$@\" }
next() { print -r >> ${(q)matches}; BUFFER=; print -r -- done-\$(( ++lines )); }
zle -N next; bindkey '^I' complete-word; bindkey '^X' next
print -r -- rea\"\"dy
"
zpty -r shell seen '*ready*'
shift
count=0
for line in "$@"; do
  zpty -w -n shell "$line"$'\t'$'\x18'
  zpty -r shell seen "*done-$(( ++count ))*"
done
cat $matches
