/** Where the pods and requests of the bench belong; all of it exists when the generator starts. */
export interface Place {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly node: { readonly name: string; readonly uid: string };
}

export const signerName = 'kubespiffe.io/spiffe';
