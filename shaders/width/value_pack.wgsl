// The statistics of as many neighbouring groups as a pack has elements.
alias Value = Pack;
alias ValueBits = PackBits;
