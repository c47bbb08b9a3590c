# Reference values for the report's statistics, from scipy.
import json, warnings
import numpy as np, scipy
from scipy import stats
warnings.simplefilter("ignore")
cases = {
 "five seeds": ([0.672,0.681,0.669,0.690,0.677],[0.660,0.668,0.671,0.672,0.665]),
 "three seeds": ([0.5,0.61,0.55],[0.52,0.57,0.51]),
 "two seeds": ([1.0,2.0],[0.5,0.25]),
 "ten seeds, skewed": ([3.1,2.9,3.0,3.2,9.5,3.1,2.8,3.05,2.95,3.3],[3.0]*10),
 "large values": ([1e6+1,1e6+2,1e6+4,1e6+3.5],[1e6,1e6,1e6,1e6]),
}
out = {"scipy": scipy.__version__, "cases": [], "holm": []}
for name,(a,b) in cases.items():
    a,b=np.array(a),np.array(b); d=a-b
    t=stats.ttest_rel(a,b)
    lo,hi=stats.t.interval(0.95,len(d)-1,loc=d.mean(),scale=stats.sem(d))
    row={"name":name,"a":a.tolist(),"b":b.tolist(),"mean":float(d.mean()),"p":float(t.pvalue),"t":[float(lo),float(hi)]}
    if len(d)>=3:
        ends=[stats.bootstrap((d,),np.mean,method="BCa",n_resamples=200000,batch=10000,rng=np.random.default_rng(s)).confidence_interval for s in range(3)]
        row["bca"]=[float(np.mean([e.low for e in ends])),float(np.mean([e.high for e in ends]))]
    out["cases"].append(row)
def holm(p):
    p=np.array(p);o=np.argsort(p,kind="stable");adj=np.maximum.accumulate(np.minimum(1,p[o]*(len(p)-np.arange(len(p)))));r=np.empty(len(p));r[o]=adj;return r.tolist()
for p in ([0.01,0.04,0.03],[0.2,0.9,0.04,0.04],[0.5],[0.001,0.002,0.003,0.9,0.05]):
    out["holm"].append({"p":p,"adjusted":holm(p)})
print(json.dumps(out,indent=1))
