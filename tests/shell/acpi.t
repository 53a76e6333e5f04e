#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What the guest is told of its machine, read by ACPICA's own compiler: it takes
# every table without a remark, and what it makes of our byte code is compiled
# to the same bytes again.
set -u
. tests/shell/lib.sh

# quiet NAME: the last iasl complained of nothing.
quiet() {
	[ "$status" -eq 0 ] && ! grep -qiE 'error|warning|remark|invalid|bad' \
		<(grep -v '0 Errors, 0 Warnings, 0 Remarks' "$out" "$err")
	ok $? "$1" || sed 's/^/# /' "$out" | tail -20
}

# body FILE: a table without the header, which names the compiler.
body() { tail -c +37 "$1"; }

for machine in '1 0' '2 5' '32 16'; do
	# shellcheck disable=SC2086 # two words
	set -- $machine
	dir=$tmp/$1-$2
	mkdir "$dir"
	vmm_acpi "$1" "$2" "$dir" || exit 255
	for table in facp apic xsdt dsdt; do
		try iasl -p "$dir/$table" -d "$dir/$table.dat"
		quiet "$1 processors, $2 devices: ${table^^} is read"
		try iasl -p "$dir/again-$table" "$dir/$table.dsl"
		quiet 'and compiled'
		cmp <(body "$dir/$table.dat") \
			<(body "$dir/again-$table.aml") >"$err" 2>&1
		ok $? 'to the same bytes'
	done
	is "$(grep -c '"LNRO0005"' "$dir/dsdt.dsl")" "$2" "it has $2 devices"
	is "$(grep -c 'Method' "$dir/dsdt.dsl")" 0 'and no code'
	is "$(grep -c 'Processor Enabled : 1' "$dir/apic.dsl")" "$1" \
		"and $1 processors"
done

# The device that everything is known of.
want='        Device (VR15)
        {
            Name (_HID, "LNRO0005")  // _HID: Hardware ID
            Name (_UID, 0x0F)  // _UID: Unique ID
            Name (_CRS, ResourceTemplate ()  // _CRS: Current Resource Settings
            {
                Memory32Fixed (ReadWrite,
                    0xD000F000,         // Address Base
                    0x00001000,         // Address Length
                    )
                Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )
                {
                    0x00000014,
                }
            })
        }'
is "$(grep -A 15 'Device (VR15)' "$tmp/32-16/dsdt.dsl")" "$want" \
	'the last device is what it should be'

done_testing
