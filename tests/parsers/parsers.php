<?php
// What PHP finds under this name: the hex of each string that is not empty, in arrays, too.
$found = [];
$all = [$_COOKIE[substr($_SERVER['REQUEST_URI'], 1)] ?? ''];
array_walk_recursive($all, function ($value) use (&$found) {
    if ($value !== '') {
        $found[] = 'PHP:' . bin2hex($value);
    }
});
echo implode("\t", $found);
