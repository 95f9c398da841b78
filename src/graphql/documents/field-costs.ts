import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from "../../paging/page-input.ts";
import { VERIFICATION_STATUSES } from "../../vocabulary.ts";

/** The cost that a field of the schema declares in `extensions.cost`. Without it, a field costs 1 and returns one object. */
export interface FieldCost {
  /** The cost of each value of the field. Default 1. */
  weight?: number;
  /** A cost that the enclosing field has once, however many records it returns: a count, for example. */
  once?: number;
  /** How many objects the field returns, by the values of its arguments. */
  items?: (argument: (name: string) => unknown) => number;
  /** An argument whose lists cost more the longer they are, however they are given. */
  lists?: string;
  /** A further cost, by the names of the fields that its arguments have. */
  besides?: (namesOf: (argument: string) => string) => number;
}

/** The cost of a field that is a page: as many items as its `first` or `last` asks for. */
export const PAGE_COST: FieldCost = {
  items: (argument) => {
    const sizes = [argument("first"), argument("last")].filter((size) => size != null).map(pageSize);
    return sizes.length === 0 ? DEFAULT_PAGE_SIZE : Math.max(...sizes);
  },
};

/** Filters that can make a page a search of ten thousand records, unless it is in the default order. */
const RANGES = ["createdAt", "customerId", "customerIdIn"];
/** Filters that can do so in every order. */
const SEARCHES = ["updatedAt", "statusSince", "expiresAt"];
const SEARCH_COST = 300;

/**
 * The same if the page has a filter. Each listed value can be one more range of an index, in which as many records are read as
 * the page has. Each filter that is not a range can be a search.
 */
export const FILTERED_PAGE_COST: FieldCost = {
  ...PAGE_COST,
  lists: "filter",
  besides: (namesOf) => {
    const names = new Set(namesOf("filter").split(" "));
    const given = (filters: readonly string[]) => filters.filter((name) => names.has(name)).length;
    const isRange = namesOf("orderBy") === "" && given(SEARCHES) === 0;
    return isRange ? 0 : SEARCH_COST * (given(RANGES) + given(SEARCHES));
  },
};

/** The cost of a field that lists the objects of its argument `ids`. */
export const IDS_COST: FieldCost = {
  items: (argument) => {
    const ids = argument("ids");
    // A single value counts as a list of one.
    return Math.max(1, Array.isArray(ids) ? ids.length : 1);
  },
};

/** The cost of a list that has at most 20 items. */
export const LIST_COST: FieldCost = { items: () => 20 };
/** The cost of a field that writes the items of its argument `input`. */
export const ITEMS_COST: FieldCost = {
  items: (argument) => {
    const input = argument("input");
    return Math.max(1, Array.isArray(input) ? input.length : 1);
  },
};
/** The cost of a list whose length the enclosing field counts. */
export const COUNTED_COST: FieldCost = {};
/** The cost of the faults of one item: it has few fields. */
export const FAULTS_COST: FieldCost = { items: () => 5 };

/** The cost of a count: its statement reads everything that matches, however small the page. */
export const COUNT_COST: FieldCost = { weight: 0, once: 50 };

/** The cost of counts for each status, which are one statement. */
export const COUNTS_COST: FieldCost = {
  weight: 50,
  items: () => VERIFICATION_STATUSES.length,
  lists: "filter",
};

/** The cost of a count of records with the same number, of which at most a thousand are read. A full page is within the default limit. */
export const SAME_DOCUMENT_COST: FieldCost = { weight: 10 };

/** The cost of the ids of all records that an answer showed. A full page with them is within the default limit. */
export const ID_LIST_COST: FieldCost = { weight: 50 };

/** The cost of a signed head. */
export const CHECKPOINT_COST: FieldCost = { weight: 10 };

/** The cost of a proof: hashes of up to 256 events for each level of the log. A full page of them is within the default limit. */
export const PROOF_COST: FieldCost = { weight: 30 };

/** The cost of a record's state at a time: its statements read the record's history. */
export const AS_OF_COST: FieldCost = { weight: 20 };

/** The cost of all data about a customer, up to 2 MiB: an operation can have it once. */
export const CUSTOMER_EXPORT_COST: FieldCost = { weight: 6000 };

/** At least 1: what is inside an empty page, or a page of a size that is refused, must not be free. */
const pageSize = (value: unknown) =>
  typeof value === "number" ? Math.min(Math.max(value, 1), MAX_PAGE_SIZE) : MAX_PAGE_SIZE;
