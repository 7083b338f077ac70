# What Perl's CGI reads: line by line as parsers.py.
use strict;
use warnings;
use CGI::Cookie;

$| = 1;
while (my $line = <STDIN>) {
    chomp $line;
    my ($name, $hex) = split /\t/, $line;
    my %cookies = CGI::Cookie->parse(pack 'H*', $hex);
    my @values = exists $cookies{$name} ? grep { defined } $cookies{$name}->value : ();
    print join("\t", map { 'CGI:' . unpack 'H*', $_ } @values), "\n";
}
