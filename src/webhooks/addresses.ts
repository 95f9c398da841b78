import { BlockList, isIP } from "node:net";

/**
 * Networks of IPv6 that are not on the internet, or that lead to IPv4 addresses: everything but 2000::/3, and of that the
 * protocols' own (Teredo, ORCHID …), 6to4, and documentation. So neither mapped addresses nor NAT64 are reached.
 */
const NOT_PUBLIC_6 = ["::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1"];
/** The same of IPv4: this network, private, carriers' NAT, loopback, link-local, protocols, tests, 6to4 relays, multicast, reserved. */
const NOT_PUBLIC_4 = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"],
  ...["192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"],
  ...[
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
  ],
];

const familyOf = (address: string) => (isIP(address) === 6 ? "ipv6" : "ipv4");

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = "", prefix] = network.split("/");
    const longest = isIP(address) === 6 ? 128 : 32;
    list.addSubnet(address, prefix === undefined ? longest : Number(prefix), familyOf(address));
  }
  return list;
}

const NOT_PUBLIC = { ipv4: listOf(NOT_PUBLIC_4), ipv6: listOf(NOT_PUBLIC_6) };

/** Which addresses webhooks may be sent to. */
export interface AddressPolicy {
  /** Whether the operator has allowed any network that is not public. */
  allowsPrivate: boolean;
  /** Whether the operator has allowed this address, although it is not public. */
  isAllowed(address: string): boolean;
  isPublic(address: string): boolean;
}

/** The policy with these networks besides the public ones. */
export function createPolicy(networks: readonly string[]): AddressPolicy {
  const allowed = listOf(networks);
  return {
    allowsPrivate: networks.length > 0,
    isAllowed: (address) => allowed.check(address, familyOf(address)),
    isPublic: (address) =>
      isIP(address) > 0 && !NOT_PUBLIC[familyOf(address)].check(address, familyOf(address)),
  };
}
