/** A name of code in the form that files and columns have: `customer_id` for `customerId`. */
export const toSnakeCase = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
