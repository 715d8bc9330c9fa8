/* A law that is known at all times: MOST people leave a party, each after an exponential time; at time t, Binomial(MOST, exp(-t)) are left. */
#ifndef WF_PARTY_H
#define WF_PARTY_H

enum { MOST = 8 };

/* How many of party i are left. */
static int party_left(uint64_t seed, uint64_t i, double t)
{
    int left = 0;
    for (uint32_t k = 0; k < MOST; k++) left += -log(wf_uniform_at(seed, i, k, 0, 1)) > t;
    return left;
}

static double binomial(int n, int k, double p)
{
    double c = 1;
    for (int i = 0; i < k; i++) c = c * (n - i) / (i + 1);
    return c * pow(p, k) * pow(1 - p, n - k);
}
#endif
