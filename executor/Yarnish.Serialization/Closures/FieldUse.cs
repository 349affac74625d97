using System.Collections.Concurrent;
using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;

namespace Yarnish.Serialization;

/// <summary>
/// Which captured variables a function can read. Two lambdas in one scope share one object of captured variables (a display class), so that the neighbour's variables would travel
/// too; this follows the function's IL through nested lambdas, local functions and state machines, as Spark's ClosureCleaner does, and finds the fields that are loaded.
/// </summary>
internal static class FieldUse
{
    private static readonly ConcurrentDictionary<(Module Module, int Token), IReadOnlySet<(Module, int)>?> Cache = new();
    private static readonly OpCode[] OneByte = new OpCode[256];
    private static readonly OpCode[] TwoBytes = new OpCode[256];

    static FieldUse()
    {
        foreach (var field in typeof(OpCodes).GetFields(BindingFlags.Public | BindingFlags.Static))
        {
            var code = (OpCode)field.GetValue(null)!;
            (code.Size == 1 ? OneByte : TwoBytes)[code.Value & 0xff] = code;
        }
    }

    /// <summary>True for the classes the compiler makes to hold captured variables: only these are pruned.</summary>
    public static bool IsDisplayClass(Type type) => type.Name.StartsWith("<>c__DisplayClass", StringComparison.Ordinal) && type.IsDefined(typeof(CompilerGeneratedAttribute), inherit: false);

    /// <summary>Names a field across all closed forms of its generic type.</summary>
    public static (Module Module, int Token) KeyOf(FieldInfo field) => (field.Module, field.MetadataToken);

    /// <summary>The fields of compiler-made classes that the method or what it reaches can load; null when that cannot be told, then all count as loaded.</summary>
    public static IReadOnlySet<(Module Module, int Token)>? LoadedBy(MethodInfo method) => Cache.GetOrAdd((method.Module, method.MetadataToken), static (_, method) => Follow(method), method);

    private static HashSet<(Module, int)>? Follow(MethodInfo root)
    {
        var loaded = new HashSet<(Module, int)>();
        var seen = new HashSet<int>();
        var open = new Queue<MethodBase>();
        Enqueue(root);
        try
        {
            while (open.TryDequeue(out var method))
            {
                Scan(method);
            }
        }
        catch (Exception error) when (error is ArgumentException or BadImageFormatException or InvalidOperationException or NotSupportedException or TypeLoadException or IOException)
        {
            return null;
        }

        return loaded;

        void Enqueue(MethodBase method)
        {
            if (method.Module == root.Module && seen.Add(method.MetadataToken))
            {
                open.Enqueue(root.Module.ResolveMethod(method.MetadataToken)!);
            }
        }

        void Scan(MethodBase method)
        {
            if (method.GetMethodBody()?.GetILAsByteArray() is not { } code)
            {
                return;
            }

            // An async or iterator lambda only makes its state machine; the work is in there.
            if (method.GetCustomAttribute<StateMachineAttribute>() is { } machine)
            {
                EnqueueAll(machine.StateMachineType);
            }

            var typeArguments = method.DeclaringType is { IsGenericType: true } declaring ? declaring.GetGenericArguments() : null;
            var methodArguments = method is MethodInfo { IsGenericMethod: true } ? method.GetGenericArguments() : null;
            for (var position = 0; position < code.Length;)
            {
                var instruction = code[position] == 0xfe ? TwoBytes[code[position + 1]] : OneByte[code[position]];
                position += instruction.Size;
                switch (instruction.OperandType)
                {
                    case OperandType.InlineField:
                        var field = method.Module.ResolveField(BitConverter.ToInt32(code, position), typeArguments, methodArguments)!;
                        if (instruction != OpCodes.Stfld && instruction != OpCodes.Stsfld)
                        {
                            loaded.Add(KeyOf(field));
                        }

                        StateMachine(field.DeclaringType);
                        break;
                    case OperandType.InlineMethod:
                        Reached(method.Module.ResolveMethod(BitConverter.ToInt32(code, position), typeArguments, methodArguments)!);
                        break;
                    case OperandType.InlineTok:
                        switch (method.Module.ResolveMember(BitConverter.ToInt32(code, position), typeArguments, methodArguments))
                        {
                            case FieldInfo named:
                                loaded.Add(KeyOf(named));
                                break;
                            case MethodBase named:
                                Reached(named);
                                break;
                        }

                        break;
                }

                position += instruction.OperandType switch
                {
                    OperandType.InlineNone => 0,
                    OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                    OperandType.InlineVar => 2,
                    OperandType.InlineI8 or OperandType.InlineR => 8,
                    OperandType.InlineSwitch => 4 + (4 * BitConverter.ToInt32(code, position)),
                    _ => 4,
                };
            }
        }

        // Only code the compiler made can see the captured variables of this function.
        void Reached(MethodBase method)
        {
            if (method.Name.StartsWith('<') || IsMade(method.DeclaringType))
            {
                Enqueue(method);
            }

            StateMachine(method.DeclaringType);
        }

        void StateMachine(Type? type)
        {
            if (type is not null && IsMade(type) && (typeof(IAsyncStateMachine).IsAssignableFrom(type) || typeof(System.Collections.IEnumerator).IsAssignableFrom(type)))
            {
                EnqueueAll(type);
            }
        }

        void EnqueueAll(Type type)
        {
            foreach (var method in type.GetMethods(BindingFlags.Instance | BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                Enqueue(method);
            }
        }
    }

    private static bool IsMade(Type? type) => type is not null && type.Name.StartsWith('<') && type.IsDefined(typeof(CompilerGeneratedAttribute), inherit: false);
}
