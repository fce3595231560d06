"""Failover drills: a cluster of real processes is broken on purpose while clients use it, and what they noticed is told and judged.

A drill starts members of its own on free loopback ports in a temporary directory, Keelson's or etcd's, so that both can be compared under the
same fault:

    calm phase -> inject -> fault phase -> heal -> aftermath phase -> checks -> report

fault      what a fault is: `Fault`, with what it needs, how it is injected and healed; faults/ has one file each
cluster    the members and their processes, as faults and load see them; program says what can be started (keelson, etcd)
load, watchers, leadership    what clients do and are told meanwhile, who leads; measures, verdicts what comes of it; checkers/ judges
drill      one run; trial is its result, and the form of the JSON; running: run after run, target by target, into a result
page, plot, summary, progress    the report as HTML with its timelines, as a table, and what is shown meanwhile; main puts all together
session    clients at work for a while and the verdict on it: what a drill and a window of the soak have in common
soak       all of it for an hour, with upkeep (members that come and go); growth says whether something grows; soak_report, soak_page
ports, leash    ports that nobody else takes; processes that end with whoever started them
"""
